package sys

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// A pointer becomes a number only in the arguments of the system call: what
// lies on a stack may move before.
func TestUnsafePointers(t *testing.T) {
	for _, p := range unsafeUses(t) {
		t.Errorf("%s: uintptr(unsafe.Pointer(…)) outside of a system call's arguments", p)
	}
}

// unsafeUses lists the conversions of pointers to numbers that are not, as the
// rules of package unsafe want it, arguments of the system call itself.
func unsafeUses(t *testing.T) (bad []string) {
	files, _ := filepath.Glob("*.go")
	set := token.NewFileSet()
	isPointer := func(e ast.Expr) bool { // unsafe.Pointer(…), or a variable of that type by name
		c, ok := e.(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := c.Fun.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "Pointer"
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		allowed := map[ast.Node]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := c.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Syscall") {
				for _, a := range c.Args {
					allowed[a] = true
				}
			}
			if id, ok := c.Fun.(*ast.Ident); ok && id.Name == "uintptr" && len(c.Args) == 1 && isPointer(c.Args[0]) && !allowed[c] {
				bad = append(bad, set.Position(c.Pos()).String())
			}
			return true
		})
	}
	return bad
}
