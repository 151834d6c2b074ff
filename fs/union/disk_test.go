package union

import (
	"os"
	"testing"
)

func link(t testing.TB, old, name string) {
	t.Helper()
	if err := os.Link(old, name); err != nil {
		t.Fatal(err)
	}
}
