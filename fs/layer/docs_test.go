package layer

import (
	"os"
	"strings"
	"testing"
)

// TestDocumented: docs/options.md has every option that is read, and those of
// others that are known.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	said := func(name string) bool {
		for _, end := range []string{"`", "=", " "} {
			if strings.Contains(string(text), "`"+name+end) {
				return true
			}
		}
		return false
	}
	for _, name := range optionNames() {
		if !said(name) {
			t.Errorf("docs/options.md doesn't have %s", name)
		}
	}
	for name, f := range foreign {
		if f.why != noVFS && !said(name) {
			t.Errorf("docs/options.md doesn't have %s of %s", name, f.of)
		}
	}
}
