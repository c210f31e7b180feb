package weft

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// keys are names in the formats shared with flannel, which structs that mirror these formats have to use.
var keys = []string{"BackendV6Data", "ListenPortV6"}

// TestStyle holds what can be held by looking at one declaration: the rules are those of Documentation/development.md.
func TestStyle(t *testing.T) {
	for _, f := range tree(t) {
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				judgeFunc(t, f, n)
			case *ast.CallExpr:
				judgeCall(t, f, n)
			}
			for _, name := range declared(n) {
				if (strings.Contains(name.Name, "V4") || strings.Contains(name.Name, "V6")) && !slices.Contains(keys, name.Name) {
					t.Errorf("%s: %s is a name for one family; index by subnet.Family", f.position(name), name)
				}
			}
			return true
		})
		for _, word := range []string{"util", "utils", "common", "helpers", "misc", "pkg"} {
			if slices.Contains(strings.Split(strings.TrimSuffix(f.path, ".go"), "/"), word) {
				t.Errorf("%s: %s says nothing about what is in it", f.path, word)
			}
		}
		if lines := f.Position(f.FileEnd).Line; !f.test && lines > 400 {
			t.Errorf("%s has %d lines: which noun is missing?", f.path, lines)
		}
	}
}

func judgeFunc(t *testing.T, f file, d *ast.FuncDecl) {
	name := d.Name.Name
	if name == "init" && d.Recv == nil {
		t.Errorf("%s: no init()", f.position(d))
	}
	if rest, ok := strings.CutPrefix(name, "Get"); ok && startsUpper(rest) {
		t.Errorf("%s: %s needs no Get", f.position(d), name)
	}
	if lines := f.Position(d.End()).Line - f.Position(d.Pos()).Line; lines > 80 && !f.test {
		t.Errorf("%s: %s has %d lines", f.position(d), name, lines)
	}
}

// judgeCall looks for calls of functions by the name of their package, or of the value that tests are passed.
func judgeCall(t *testing.T, f file, c *ast.CallExpr) {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return
	}
	switch call := x.Name + "." + sel.Sel.Name; {
	case call == "time.Sleep" && f.test && !inBubble(f):
		t.Errorf("%s: a test does not sleep; it waits for what it expects", f.position(c))
	case call == "os.Exit" && path.Base(f.path) != "main.go" && !strings.HasSuffix(f.path, "main_test.go"):
		t.Errorf("%s: only main exits", f.position(c))
	case slices.Contains([]string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf"}, call):
		t.Errorf("%s: a test that cannot run fails, and says why", f.position(c))
	}
}

// inBubble tells whether f imports testing/synctest, in whose bubbles no real time passes.
func inBubble(f file) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"testing/synctest"` })
}

// declared returns the names that n declares.
func declared(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.Field:
		return n.Names
	default:
		return nil
	}
}

// TestEverythingIsExplained holds that every package and every exported name of one has a comment.
func TestEverythingIsExplained(t *testing.T) {
	explained := map[string]int{}
	for _, f := range tree(t) {
		if f.test || f.path == "deps.go" {
			continue
		}
		explained[f.dir()] += 0
		if f.Doc != nil {
			explained[f.dir()]++
		}
		for _, d := range f.Decls {
			for _, name := range silent(d) {
				t.Errorf("%s: %s is exported and has no comment", f.position(d), name)
			}
		}
	}
	for dir, n := range explained {
		if n != 1 && dir != "." {
			t.Errorf("%s: %d files explain the package, want 1", dir, n)
		}
	}
}

// silent returns the exported names that d declares without a comment.
func silent(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && s.Doc == nil && s.Name.IsExported() {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				if d.Doc == nil && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
					names = append(names, s.Names[0].Name)
				}
			}
		}
		return names
	}
	return nil
}

func exportedReceiver(r *ast.FieldList) bool {
	e := r.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if index, ok := e.(*ast.IndexExpr); ok {
		e = index.X
	}
	name, ok := e.(*ast.Ident)
	return ok && name.IsExported()
}

func startsUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(r)
}
