package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named is a function as docs/architecture.md writes it: `folder.Name`.
var named = regexp.MustCompile("`([a-z]+(?:/[a-z]+)*)\\.([A-Za-z]\\w*)`")

// TestArchitectureNames: every function that the architecture speaks of exists
// in the folder that it gives.
func TestArchitectureNames(t *testing.T) {
	known := map[string]map[string]bool{}
	n := 0
	for _, m := range named.FindAllSubmatch(read(t, "docs/architecture.md"), -1) {
		dir, name := string(m[1]), string(m[2])
		if _, err := os.Stat(filepath.Join(root(t), dir)); err != nil {
			continue // a file, such as ops.go
		}
		n++
		if known[dir] == nil {
			known[dir] = functions(t, dir)
		}
		if !known[dir][name] {
			t.Errorf("docs/architecture.md speaks of %s.%s, which is no function there (any more)", dir, name)
		}
	}
	if n < 50 {
		t.Errorf("docs/architecture.md has %d names of functions; is their form another now?", n)
	}
}

// functions are the names of the functions and methods of a folder.
func functions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, f := range goFiles(t, dir) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				all[fn.Name.Name] = true
			}
		}
	}
	return all
}

// goFiles are the parsed files of one folder that aren't tests.
func goFiles(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root(t), dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	all := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = f
	}
	return all
}

// testLink is a test as the documents link it: [TestName](path/file_test.go).
var testLink = regexp.MustCompile(`\[(Test\w+)\]\(([^)]+_test\.go)\)`)

// TestLinkedTests: the tests that documents name as their proof are there.
func TestLinkedTests(t *testing.T) {
	n := 0
	for _, f := range files(t) {
		if filepath.Ext(f) != ".md" {
			continue
		}
		for _, m := range testLink.FindAllSubmatch(read(t, f), -1) {
			n++
			text, err := os.ReadFile(filepath.Join(root(t), filepath.Dir(f), string(m[2])))
			if err != nil || !strings.Contains(string(text), "\nfunc "+string(m[1])+"(") {
				t.Errorf("%s links to %s in %s, which is not there (%v)", f, m[1], m[2], err)
			}
		}
	}
	if n == 0 {
		t.Error("no document links to a test")
	}
}
