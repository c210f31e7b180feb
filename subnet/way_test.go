package subnet_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

func mac(number string) string { return `{"VNI":1,"VtepMAC":"0e:00:00:00:00:` + number + `"}` }

func TestWays(t *testing.T) {
	former := subnet.Way{Backend: "vxlan", Agreed: "VNI 1 at port 8472", Config: `{"MTU":1400}`, Data: [2]string{mac("01"), mac("02")}}
	for _, test := range []struct {
		name string
		ways []subnet.Way
		told bool
		text string
		want []subnet.Way // where it is not the same
	}{
		{"one", []subnet.Way{{Backend: "host-gw"}}, false, "", []subnet.Way{{Backend: "host-gw", Silent: true}}},
		{"one that tells what is agreed", []subnet.Way{{Backend: "vxlan", Agreed: "VNI 1 at port 4789", Data: [2]string{mac("01")}}}, true,
			`[{"Type":"vxlan","Agreed":"VNI 1 at port 4789","Data":[` + mac("01") + `,null]}]`, nil},
		{"two", []subnet.Way{{Backend: "host-gw"}, former}, false,
			`[{"Type":"host-gw"},{"Type":"vxlan","Agreed":"VNI 1 at port 8472","Config":{"MTU":1400},"Data":[` + mac("01") + "," + mac("02") + `]}]`, nil},
		{"one that leaves", []subnet.Way{{Backend: "host-gw"}, {Backend: "extension", Partial: true, Leaving: true, Suffix: "b"}}, false,
			`[{"Type":"host-gw"},{"Type":"extension","Suffix":"b","Partial":true,"Leaving":true}]`, nil},
		{"one for a change of keys", []subnet.Way{{Backend: "wireguard"}, {Backend: "wireguard", Agreed: "one device, at port 7", Rotation: subnet.Along, Follows: "AA= BB="}}, false,
			`[{"Type":"wireguard"},{"Type":"wireguard","Agreed":"one device, at port 7","Rotation":"along","Follows":"AA= BB="}]`, nil},
		{"signs that JSON escapes", []subnet.Way{{Backend: "x<&>", Agreed: "\u2028"}}, true, `[{"Type":"x\u003c\u0026\u003e","Agreed":"\u2028"}]`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := subnet.Attrs{Node: "n1"}
			if err := a.SetWays(test.ways, test.told); err != nil {
				t.Fatal(err)
			}
			if a.Ways != test.text || a.Backend != test.ways[0].Backend || a.Data != test.ways[0].Data {
				t.Errorf("the ways are written as\n%s, want\n%s; backend %s, data %s", a.Ways, test.text, a.Backend, a.Data)
			}
			if test.want == nil {
				test.want = test.ways
			}
			got, err := a.AllWays()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-written +read):\n%s", diff)
			}
		})
	}
}

// An agent that knows nothing of ways changes type and data and leaves the ways as they were.
func TestWaysThatAreOutOfDate(t *testing.T) {
	a := subnet.Attrs{Backend: "host-gw", Ways: `[{"Type":"vxlan","Agreed":"VNI 1 at port 4789"},{"Type":"host-gw"}]`}
	got, err := a.AllWays()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]subnet.Way{{Backend: "host-gw", Silent: true}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWaysWrong(t *testing.T) {
	for text, want := range map[string]string{
		"{":                               "not a JSON list",
		`{"Type":"vxlan"}`:                "not a JSON list",
		"[]":                              "0 ways: want 1 to 16",
		`[{}]`:                            "without a type",
		`[{"Type":"x","Suffix":"long!"}]`: "suffix of more than 4 bytes",
		"[" + strings.Repeat(`{"Type":"x"},`, 16) + `{"Type":"x"}]`: "17 ways: want 1 to 16",
	} {
		a := subnet.Attrs{Backend: "x", Ways: text}
		if w, err := a.AllWays(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, %v: want an error with %q", text, w, err, want)
		}
	}
}

func TestCompactWays(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"null":                       "",
		" null\n":                    "",
		"[ {\"Type\" : \"vxlan\"} ]": `[{"Type":"vxlan"}]`,
	} {
		if got, err := subnet.CompactWays([]byte(text)); got != want || err != nil {
			t.Errorf("CompactWays(%q) = %q, %v: want %q", text, got, err, want)
		}
	}
	if got, err := subnet.CompactWays([]byte("[")); err == nil {
		t.Errorf("half a list is %q", got)
	}
}

func FuzzWays(f *testing.F) {
	for _, seed := range []string{"", "[]", "null", `[{"Type":"vxlan"}]`, `[{"Type":"vxlan","Agreed":"VNI 1 at port 4789","Config":{"a": 1},"Data":[{"VNI":1},null]}]`,
		`[{"Type":"vxlan","Leaving":true,"Later":[]},{"Type":"host-gw","Data":[]}]`, `[{"Type":"\ud800"}]`, `[{"Type":"wireguard"},{"Type":"wireguard","Rotation":"away","Follows":"AA="}]`, "[[]]", "[{}"} {
		f.Add("vxlan", seed)
	}
	f.Fuzz(func(t *testing.T, kind, text string) {
		a := subnet.Attrs{Backend: kind, Ways: text}
		ways, err := a.AllWays()
		if err != nil {
			return
		}
		b := subnet.Attrs{Backend: kind}
		if err := b.SetWays(ways, !ways[0].Silent); err != nil {
			t.Fatalf("%q is read as %+v, which cannot be written: %v", text, ways, err)
		}
		again, err := b.AllWays()
		if err != nil {
			t.Fatalf("%q is written as %q, which cannot be read: %v", text, b.Ways, err)
		}
		if !ways[0].Silent {
			if diff := cmp.Diff(ways, again); diff != "" {
				t.Errorf("%q (-first +again):\n%s", text, diff)
			}
		}
	})
}
