package fstest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func keys(t Tree) string { return strings.Join(slices.Sorted(maps.Keys(t)), " ") }

// TestStack: trees are spread over the layers there are, or merged into one
// that shows the same.
func TestStack(t *testing.T) {
	low := Tree{"d/a": File("1"), "d/b": File("1"), "gone/x": File(""), "d": Dir().Perm(0o700), "o/x": File("")}
	over := Tree{"d/b": File("2"), "gone": White(), "o": Opaque(), "o/y": File("")}

	one := stack([]Tree{low, over}, 1, 0)
	if got, want := keys(one[0]), ". d d/a d/b o o/y"; got != want {
		t.Errorf("merged: %s, want %s", got, want)
	}
	if one[0]["d/b"].Data != "2" || one[0]["d"].Mode&0o777 != 0o700 || one[0]["o"].opaque {
		t.Errorf("merged: %+v", one[0])
	}

	three := stack([]Tree{low, over}, 3, 0)
	if three[0] == nil || three[1] != nil || three[2] == nil {
		t.Fatalf("three layers: %v", three)
	}
	if m := three[2]["d"].Mode & 0o777; m != 0o700 {
		t.Errorf("an implied directory changed the mode to %o", m)
	}
	if single := stack([]Tree{low}, 64, 70); single[6] == nil {
		t.Error("a single layer did not go where it was to")
	}
}

// TestSnapshot: what changes shows, what doesn't doesn't.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	tree := Tree{"f": File("x").X("user.k", "v"), "d/l": Sym("f"), "d/p": Fifo(), "h": Link("f")}
	if err := (builder{}).layer(dir, tree.withParents(nil)); err != nil {
		t.Fatal(err)
	}
	all := everything | WithCtime
	a, err := Snapshot(dir, all)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Snapshot(dir, all)
	if err != nil || Diff("a", a, "b", b) != "" {
		t.Errorf("two snapshots differ: %v\n%s", err, Diff("a", a, "b", b))
	}
	if !strings.Contains(a["f"], `user.k="v"`) || !strings.Contains(a["h"], "nlink=2") || !strings.Contains(a["d/l"], "->f") {
		t.Errorf("the snapshot lacks something: %v", a)
	}
	if err := os.Chmod(filepath.Join(dir, "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err = Snapshot(dir, all); err != nil {
		t.Fatal(err)
	}
	if d := Diff("a", a, "b", b); strings.Count(d, "\n") != 5 {
		t.Errorf("a chmod of one inode with two names gives\n%s", d)
	}
}

// TestOverrideValue: the text is that of containers/storage.
func TestOverrideValue(t *testing.T) {
	for want, n := range map[string]Node{
		"0:0:0644:file":            File(""),
		"1:2:04755:file":           File("").Own(1, 2).Perm(0o4755),
		"0:0:0755:dir":             Dir(),
		"0:0:0644:char-1-3":        Chr(1, 3),
		"5:5:0600:block-259-70000": {Mode: unix.S_IFBLK | 0o600, Rdev: unix.Mkdev(259, 70000), UID: 5, GID: 5},
	} {
		if got := overrideValue(n); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestResultsOfAnotherProcess: names, nesting, logs and verdicts are found in
// the output of a test binary.
func TestResultsOfAnotherProcess(t *testing.T) {
	r := parseResults("TestX/v", strings.NewReader(`=== RUN   TestX
=== RUN   TestX/v
=== RUN   TestX/v/fam
=== RUN   TestX/v/fam/one
    a.go:1: broken
=== RUN   TestX/v/fam/two
=== NAME  TestX/v/fam/one
    a.go:2: still
--- FAIL: TestX (0.00s)
    --- FAIL: TestX/v (0.00s)
        --- FAIL: TestX/v/fam (0.00s)
            --- FAIL: TestX/v/fam/one (0.00s)
            --- SKIP: TestX/v/fam/two (0.00s)
FAIL
`))
	fam := r.subOf["fam"]
	if fam == nil || strings.Join(fam.subs, " ") != "one two" {
		t.Fatalf("found %+v", r)
	}
	one, two := fam.subOf["one"], fam.subOf["two"]
	if one.status != "FAIL" || two.status != "SKIP" || !strings.Contains(one.log.String(), "broken\n") || !strings.Contains(one.log.String(), "still") {
		t.Errorf("one: %s %q, two: %s", one.status, one.log.String(), two.status)
	}
}
