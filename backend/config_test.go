package backend_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/backend"
)

func TestRead(t *testing.T) {
	type result struct {
		Number   int
		Flag     bool
		Word     string
		Warnings []string
		Error    string
	}
	for _, test := range []struct {
		name, config string
		want         result
	}{
		{"nothing", "", result{Number: 7}},
		{"spaces", " \n", result{Number: 7}},
		{"empty", "{}", result{Number: 7}},
		{"type alone", `{"Type":"x"}`, result{Number: 7}},
		{"all", `{"Number":9,"Flag":true}`, result{Number: 9, Flag: true}},
		{"any case", `{"NUMBER":9,"flag":true}`, result{Number: 9, Flag: true}},
		{"null", `{"Number":null,"Flag":null}`, result{Number: 7}},
		{"too small", `{"Number":4}`, result{Number: 7, Error: "Backend.Number: 4 is not a whole number from 5 to 10"}},
		{"too large", `{"Number":11}`, result{Number: 7, Error: "Backend.Number: 11 is not a whole number from 5 to 10"}},
		{"text", `{"Word":"a\u00e4"}`, result{Number: 7, Word: "aä"}},
		{"secret", `{"Secret":"a"}`, result{Number: 7, Word: "a"}},
		{"secret number", `{"Secret":123456}`, result{Number: 7, Error: "Backend.Secret: what is there, which is not shown, is not a text in quotes"}},
		{"no text", `{"Word":1}`, result{Number: 7, Error: "Backend.Word: 1 is not a text in quotes"}},
		{"fraction", `{"Number":5.5}`, result{Number: 7, Error: "Backend.Number: 5.5 is not a whole number from 5 to 10"}},
		{"huge", `{"Number":99999999999999999999}`, result{Number: 7, Error: "Backend.Number: 99999999999999999999 is not a whole number from 5 to 10"}},
		{"two mistakes", `{"Number":"6","Flag":{"a":
			1}}`, result{Number: 7, Error: "Backend.Number: \"6\" is not a whole number from 5 to 10\nBackend.Flag: {\"a\": 1} is not true or false"}},
		{"long value", `{"Flag":"0123456789012345678901234567890123456789012345"}`,
			result{Number: 7, Error: `Backend.Flag: "012345678901234567890123456789012345678... is not true or false`}},
		{"unknown", `{"Colour":1}`, result{Number: 7, Warnings: []string{"Backend.Colour is not known and is ignored"}}},
		{"slip", `{"Flog":true}`, result{Number: 7, Warnings: []string{"Backend.Flog is not known and is ignored; did you mean Flag?"}}},
		{"twice", `{"Number":5,"number":6}`, result{Number: 6, Warnings: []string{"Backend.number is there twice, the last one counts"}}},
		{"cut", `{"Number":5`, result{Number: 5, Error: "Backend: read the JSON object: unexpected EOF"}},
		{"cut in a value", `{"Number":`, result{Number: 7, Error: `Backend: read the value of "Number": unexpected EOF`}},
		{"not an object", `"vxlan"`, result{Number: 7, Error: `Backend: "vxlan" is not a JSON object like {"Type": "vxlan"}`}},
		{"more behind", `{} {}`, result{Number: 7, Error: "Backend: there is something after the end of the JSON object"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := backend.Read(test.config)
			got := result{Number: r.Int("Number", 7, 5, 10), Flag: r.Bool("Flag"), Word: r.Text("Word", "") + r.Secret("Secret")}
			warnings, err := r.Done()
			got.Warnings = warnings
			if err != nil {
				got.Error = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("what was read (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"a":1}`, `{"Number":5,"number":[]}`, "{", "[1", `{"a":}`, `{"":null}`, "{}x", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, config string) {
		r := backend.Read(config)
		if n := r.Int("Number", 7, 5, 10); n < 5 || n > 10 {
			t.Errorf("%d is outside of what was asked for", n)
		}
		r.Bool("Flag")
		r.Text("Word", "")
		first, err := r.Done()
		again := backend.Read(config)
		again.Int("Number", 7, 5, 10)
		again.Bool("Flag")
		again.Text("Word", "")
		second, err2 := again.Done()
		if diff := cmp.Diff(first, second); diff != "" || (err == nil) != (err2 == nil) {
			t.Errorf("read twice (-first +second), errors %v and %v:\n%s", err, err2, diff)
		}
	})
}
