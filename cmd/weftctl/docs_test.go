package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandLine finds "weftctl ..." where a document shows it as code.
var commandLine = regexp.MustCompile("(?m)(?:`|^ {4}(?:\\$ )?|\\| )weftctl([^`|\n#;]*)")

// TestDocumentedCommandsExist holds that every weftctl command line in the documents has a command and flags that there are.
func TestDocumentedCommandsExist(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"../../*.md", "../../Documentation/*.md", "../../Documentation/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	checked := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range commandLine.FindAllStringSubmatch(string(text), -1) {
			checked++
			if problem := judgeCommand(strings.Fields(m[1])); problem != "" {
				t.Errorf("%s: weftctl%s: %s", filepath.Base(path), m[1], problem)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d command lines found", checked)
	}
}

// judgeCommand returns what is wrong with the words after "weftctl", or "".
func judgeCommand(words []string) string {
	cmd := newRootCommand(os.Getenv)
	for i, w := range words {
		if w == "--" {
			return ""
		}
		if strings.HasPrefix(w, "-") && w != "-" {
			name, _, _ := strings.Cut(w, "=")
			if !hasFlag(cmd, name) {
				return "no flag " + name
			}
			continue
		}
		if sub := child(cmd, w); sub != nil {
			cmd = sub
		} else if cmd.HasSubCommands() {
			return "no command " + strings.Join(words[:i+1], " ")
		}
	}
	return ""
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func hasFlag(cmd *cobra.Command, name string) bool {
	cmd.InitDefaultHelpFlag()
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return cmd.Flags().Lookup(long) != nil
	}
	return cmd.Flags().ShorthandLookup(strings.TrimPrefix(name, "-")) != nil
}

func TestCommandsAreJudged(t *testing.T) {
	for line, want := range map[string]string{
		"status -o json":                    "",
		"cleanup --dry-run":                 "",
		"check FILE":                        "",
		"lab exec node1 -- ip -br link":     "",
		"stauts":                            "no command stauts",
		"lab explode":                       "no command lab explode",
		"cleanup --dryrun":                  "no flag --dryrun",
		"status --output=json --help extra": "",
	} {
		if got := judgeCommand(strings.Fields(line)); got != want {
			t.Errorf("%q: judged %q, want %q", line, got, want)
		}
	}
}
