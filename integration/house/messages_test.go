package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wording are the functions that make the text of an error.
var wording = []string{"fmt.Errorf", "errors.New", "badValue"}

// wrapping are at most three words before the error that is passed on: "open %s:
// %w". They say what was tried, and what is wrong is said by the rest.
const wrapping = 3

var (
	verb  = regexp.MustCompile(`%(?:[-+# 0-9.]|\[\d+\])*[a-zA-Z]`)
	words = regexp.MustCompile(`[A-Za-z/'-]+`)
)

// TestTroubleshooting: docs/troubleshooting.md has each error that the commands
// can end with, and none that there isn't.
func TestTroubleshooting(t *testing.T) {
	const doc = "docs/troubleshooting.md"
	said := entries(string(read(t, doc)))
	made := messages(t)
	for text, where := range made {
		if !said[text] {
			t.Errorf("%s has no entry for an error of %s; add to the block where it belongs, or with what to do, the line\n%s", doc, where, text)
		}
	}
	for text := range said {
		if made[text] == "" {
			t.Errorf("%s has an entry for what is said nowhere (any more): %s", doc, text)
		}
	}
	if len(made) < 300 {
		t.Errorf("only %d errors were found in the source", len(made))
	}
}

// entries are the lines of ```text blocks, and list items of "- “ TEXT “".
func entries(doc string) map[string]bool {
	all := map[string]bool{}
	in := false
	for line := range strings.SplitSeq(doc, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			in = line == "```text"
		case in:
			all[line] = true
		case strings.HasPrefix(line, "- `` "):
			all[strings.TrimSuffix(strings.TrimPrefix(line, "- `` "), " ``")] = true
		}
	}
	return all
}

// messages are the texts of errors in the source, with "…" for what varies, and
// where each is made.
func messages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, f := range files(t) {
		room, _, _ := strings.Cut(f, "/")
		if !slices.Contains([]string{"cmd", "container", "fs", "snapshot", "plugin"}, room) ||
			filepath.Ext(f) != ".go" || strings.HasSuffix(f, "_test.go") || strings.HasPrefix(f, "fs/fstest/") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root(t), f), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !slices.Contains(wording, callee(call)) {
				return true
			}
			for _, arg := range call.Args {
				format := literal(arg)
				if format == "" {
					continue
				}
				text := strings.ReplaceAll(verb.ReplaceAllString(format, "…"), "%%", "%")
				words := len(words.FindAllString(text, -1))
				passesOn := strings.HasSuffix(format, "%w") || strings.HasSuffix(format, "%v")
				if words > 0 && (!passesOn || words > wrapping) {
					all[text] = f + ":" + strconv.Itoa(set.Position(call.Pos()).Line)
				}
				break
			}
			return true
		})
	}
	return all
}

// callee is the name of what is called.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// literal is the text of a string expression, %s where it is no literal, and
// nothing when none of it is.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	case *ast.BinaryExpr:
		left, right := literal(e.X), literal(e.Y)
		switch {
		case left == "" && right == "":
			return ""
		case left == "":
			left = "%s"
		case right == "":
			right = "%s"
		}
		return left + right
	}
	return ""
}

// TestCommentsOfExported: whoever reads a name that a room exports reads what
// it is for: house figures ask for most, and this for all but methods.
func TestCommentsOfExported(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasSuffix(p.ImportPath, "/main") || strings.Contains(p.ImportPath, "/integration/") {
			continue
		}
		rel, err := filepath.Rel(root(t), p.Dir)
		if err != nil || len(p.GoFiles) == 0 {
			continue
		}
		for name, f := range goFiles(t, rel) {
			for _, d := range f.Decls {
				if missing := undocumented(d); missing != "" {
					t.Errorf("%s: %s is exported and has no comment", strings.TrimPrefix(name, root(t)+string(os.PathSeparator)), missing)
				}
			}
		}
	}
}

// undocumented is an exported name of the declaration that nothing is said of.
func undocumented(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.IsExported() && d.Doc == nil {
			return d.Name.Name
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					return s.Name.Name
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					return s.Names[0].Name
				}
			}
		}
	}
	return ""
}
