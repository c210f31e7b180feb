package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestConfigurationListsFlags compares the rows of Documentation/configuration.md with the flags: names and defaults.
func TestConfigurationListsFlags(t *testing.T) {
	text, err := os.ReadFile("../../Documentation/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `--([a-z0-9-]+)` \\| (?:`([^`]*)`)? ?\\|")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = m[2]
	}
	declared := map[string]string{}
	flagSet(&options{}).VisitAll(func(f *pflag.Flag) {
		declared[f.Name] = strings.TrimSuffix(strings.TrimPrefix(f.DefValue, "["), "]")
	})
	if diff := cmp.Diff(declared, documented); diff != "" {
		t.Errorf("-flags +Documentation/configuration.md:\n%s", diff)
	}
}

// TestEnvironmentFileNamesFlags holds that every variable in dist/weftd.env, also in comments, is that of a flag, and that
// weftd takes the file as it is.
func TestEnvironmentFileNamesFlags(t *testing.T) {
	text, err := os.ReadFile("../../dist/weftd.env")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(#?)(WEFTD_[A-Z_0-9]+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(m[2], "WEFTD_"), "_", "-"))
		if flagSet(&options{}).Lookup(name) == nil {
			t.Errorf("%s is the variable of no flag", m[2])
		}
		if m[1] == "" {
			set[m[2]] = m[3]
		}
	}
	if len(set) == 0 {
		t.Fatal("no variable found")
	}
	o, err := parse(nil, func(name string) (string, bool) { v, ok := set[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if !o.ipMasq || o.etcdEndpoints != "http://127.0.0.1:2379" {
		t.Errorf("the file has no effect: %+v", o)
	}
}
