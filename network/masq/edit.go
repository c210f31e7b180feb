package masq

// edit is one step of changing a list of rules: insert the rule want[new] in front of have[old], or behind all where there is
// no such, or delete have[old].
type edit struct {
	insert   bool
	old, new int
}

// edits returns the steps that turn the rules have into want. What both begin and end with stays. First the
// new rules go in, in their order and in front of the old ones, then the old ones go, the last one first: after every
// step each packet meets either the verdict that it met before, or the new one. So a chain whose first match wins can be
// changed rule by rule while packets pass.
func edits[H, W any](have []H, want []W, equal func(H, W) bool) []edit {
	head := 0
	for head < len(have) && head < len(want) && equal(have[head], want[head]) {
		head++
	}
	tail := 0
	for tail < len(have)-head && tail < len(want)-head && equal(have[len(have)-1-tail], want[len(want)-1-tail]) {
		tail++
	}
	var steps []edit
	for i := head; i < len(want)-tail; i++ {
		steps = append(steps, edit{insert: true, old: head, new: i})
	}
	for i := len(have) - tail - 1; i >= head; i-- {
		steps = append(steps, edit{old: i})
	}
	return steps
}
