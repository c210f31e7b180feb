package masq

// edit is one step of changing a chain: insert rule at the 1-based position, or delete what is there.
type edit struct {
	position int
	insert   bool
	rule     Rule
}

// edits returns the steps that turn the rules have into want, where ok says which of have could be understood. What
// both begin and end with stays. First the new rules go in, in their order and in front of the old ones, then the old ones go,
// the last one first: after every step each packet meets either the verdict that it met before, or the new one. So a
// chain whose first match wins can be changed rule by rule while packets pass.
func edits(have []Rule, want []Rule) []edit {
	head := 0
	for head < len(have) && head < len(want) && have[head] == want[head] {
		head++
	}
	tail := 0
	for tail < len(have)-head && tail < len(want)-head && have[len(have)-1-tail] == want[len(want)-1-tail] {
		tail++
	}
	var steps []edit
	inserted := want[head : len(want)-tail]
	for i, r := range inserted {
		steps = append(steps, edit{position: head + i + 1, insert: true, rule: r})
	}
	for i := len(have) - tail; i > head; i-- {
		steps = append(steps, edit{position: i + len(inserted)})
	}
	return steps
}
