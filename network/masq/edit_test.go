package masq

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
)

// toy rules match the marks whose bits they have in common with it, so that many overlap.
func toyVerdict(rules []Rule, mark uint32) int {
	for _, r := range rules {
		if r.Mark&mark != 0 {
			return int(r.Verdict)
		}
	}
	return -1
}

func toyRules(r *rand.Rand) []Rule {
	rules := make([]Rule, r.IntN(6))
	for i := range rules {
		rules[i] = Rule{Mark: 1 + r.Uint32N(15), Verdict: Verdict(r.IntN(3))}
	}
	return rules
}

func same(a, b Rule) bool { return a == b }

// TestEditsKeepVerdicts tries that at every step each packet meets the old verdict or the new one.
func TestEditsKeepVerdicts(t *testing.T) {
	holds := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 0))
		have, want := toyRules(r), toyRules(r)
		now := slices.Clone(have)
		inserted := 0
		for _, e := range edits(have, want, same) {
			at := e.old + inserted
			if e.insert {
				now = slices.Insert(slices.Clone(now), at, want[e.new])
				inserted++
			} else {
				now = slices.Delete(slices.Clone(now), at, at+1)
			}
			for mark := range uint32(16) {
				v := toyVerdict(now, mark)
				if v != toyVerdict(have, mark) && v != toyVerdict(want, mark) {
					t.Logf("from %v to %v: at %v packet %b meets %d", have, want, now, mark, v)
					return false
				}
			}
		}
		return slices.Equal(now, want)
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

func TestEditsChangeOnlyWhatDiffers(t *testing.T) {
	a, b, c, d := Rule{Mark: 1}, Rule{Mark: 2}, Rule{Mark: 3}, Rule{Mark: 4}
	tests := []struct {
		name       string
		have, want []Rule
		edits      []edit
	}{
		{"equal", []Rule{a, b}, []Rule{a, b}, nil},
		{"first missing", []Rule{b, c}, []Rule{a, b, c}, []edit{{true, 0, 0}}},
		{"middle missing", []Rule{a, c}, []Rule{a, b, c}, []edit{{true, 1, 1}}},
		{"last missing", []Rule{a, b}, []Rule{a, b, c}, []edit{{true, 2, 2}}},
		{"one too many", []Rule{a, d, b}, []Rule{a, b}, []edit{{false, 1, 0}}},
		{"one twice", []Rule{a, a, b}, []Rule{a, b}, []edit{{false, 1, 0}}},
		{"another one", []Rule{a, d, c}, []Rule{a, b, c}, []edit{{true, 1, 1}, {false, 1, 0}}},
		{"all missing", nil, []Rule{a, b}, []edit{{true, 0, 0}, {true, 0, 1}}},
		{"all too many", []Rule{a, b}, nil, []edit{{false, 1, 0}, {false, 0, 0}}},
	}
	for _, test := range tests {
		got := edits(test.have, test.want, same)
		if diff := cmp.Diff(test.edits, got, cmp.Comparer(func(a, b edit) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
