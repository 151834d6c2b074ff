package union

import (
	"os"
	"testing"
)

// TestOverDotWhiteout: what takes the place of a name that a .wh. file hides
// (an upper that another program made) stays, and the .wh. file goes.
func TestOverDotWhiteout(t *testing.T) {
	e := newEnv(t, 1)
	for _, n := range []string{"made", "linked", "renamed", "dir", "moved"} {
		e.file("lower1/"+n, "hidden")
		e.file("upper/.wh."+n, "")
	}
	e.file("upper/mine", "precious")
	e.file("upper/mydir/file", "precious too")
	e.open()
	for _, n := range []string{"made", "linked", "renamed", "dir", "moved"} {
		if _, errno := e.c.try(n); errno == 0 {
			t.Errorf("%s is not hidden", n)
		}
	}
	e.c.write(e.c.create("made", 0o644), "new", 0)
	e.c.link(e.c.id("mine"), "linked")
	e.c.mkdir("dir")
	e.c.rename("mine", "renamed")
	e.c.rename("mydir", "moved")
	want := map[string]string{"made": "new", "linked": "precious", "renamed": "precious", "moved/file": "precious too"}
	for round := range 2 {
		for n, text := range want {
			if got := e.c.content(n); got != text {
				t.Errorf("round %d: %s is %q, want %q", round, n, got, text)
			}
		}
		e.c.id("dir")
		e.reopen()
	}
	for _, n := range []string{"made", "linked", "renamed", "dir", "moved"} {
		if _, err := os.Lstat(e.path("upper/.wh." + n)); err == nil {
			t.Errorf(".wh.%s is still there", n)
		}
	}
}
