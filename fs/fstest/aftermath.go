package fstest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// everything is what must be the same after a second mount by plyfs.
const everything = WithTimes | WithIno | WithNlink | WithXattrs

// shown is what kernel overlayfs and plyfs must show alike. Link counts of
// files whose other names lie in a lower are not among it, inode numbers
// neither.
const shown = WithTimes | WithXattrs

// lowerState is what no operation on the mount may change: everything but
// the access times.
func lowerState(t *testing.T, m *Mount) map[string]string {
	t.Helper()
	all := map[string]string{}
	if m.v.Kind == Plain {
		return all
	}
	for _, l := range m.Lowers {
		s, err := Snapshot(l, everything|WithCtime)
		if err != nil {
			t.Fatal(err)
		}
		for p, d := range s {
			all[filepath.Base(l)+"/"+p] = d
		}
	}
	return all
}

// aftermath unmounts and looks at what was left.
func aftermath(t *testing.T, m *Mount) {
	if m.v.Kind == Plain {
		if err := m.Down(); err != nil {
			t.Error(err)
		}
		return
	}
	view, viewErr := Snapshot(m.Dir, everything)
	downErr := m.Down()
	t.Run("after the run the mount can be walked", func(t *testing.T) {
		if viewErr != nil {
			t.Error(viewErr)
		}
	})
	t.Run("the server ends with the mount", func(t *testing.T) {
		if downErr != nil {
			t.Error(downErr)
		}
	})
	t.Run("no lower was touched", func(t *testing.T) {
		if d := Diff("before", m.before, "after", lowerState(t, m)); d != "" {
			t.Error(d)
		}
	})
	if m.Upper == "" {
		return
	}
	if m.v.Kind == Plyfs { // overlayfs keeps a whiteout there to link others to
		t.Run("the work directory is empty", func(t *testing.T) { workIsEmpty(t, m) })
	}
	if viewErr != nil {
		return
	}
	t.Run("a second mount shows the same", func(t *testing.T) {
		os.RemoveAll(filepath.Join(m.Work, "work", "incompat")) // volatile: ours to remove
		if err := m.Up(); err != nil {
			t.Fatal(err)
		}
		again, err := Snapshot(m.Dir, everything)
		if derr := m.Down(); derr != nil {
			t.Error(derr)
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.v.Kind == Overlay {
			return // it keeps no inode numbers of special files
		}
		if m.v.Who != Root {
			view, again = withoutIno(view), withoutIno(again)
		}
		view, again = whileKnown(view), whileKnown(again)
		if d := Diff("first", timeless(view), "second", timeless(again)); d != "" {
			t.Error(d)
		}
		if m.v.Who != Root {
			view, again = unsynced(view), unsynced(again)
		}
		t.Run("to the nanosecond", func(t *testing.T) {
			if d := Diff("first", view, "second", again); d != "" {
				t.Errorf("%.3000s", d)
			}
		})
	})
	if m.v.Kind == Plyfs && !m.v.ForeignUpper && m.v.Who != User {
		t.Run("kernel overlayfs shows the same", func(t *testing.T) { kernelShowsTheSame(t, m) })
	}
}

// timeless is a snapshot without its times.
func timeless(s map[string]string) map[string]string {
	out := map[string]string{}
	for p, d := range s {
		out[p] = mtimeField.ReplaceAllString(d, "")
	}
	return out
}

// whileKnown takes the link counts from lower files of which a name was
// removed: the mount knows it while it knows the file.
func whileKnown(s map[string]string) map[string]string {
	out := maps.Clone(s)
	for p, d := range out {
		if strings.Contains(p, "/known-") {
			out[p] = nlinkField.ReplaceAllString(d, "")
		}
	}
	return out
}

// unsynced takes the times from files that only syncfs wrote back: in a user
// namespace the kernel's own threads send the data and can't send the time (a
// trace shows a WRITE and no SETATTR).
func unsynced(s map[string]string) map[string]string {
	out := maps.Clone(s)
	for p, d := range out {
		if strings.Contains(p, "/synced-") {
			out[p] = mtimeField.ReplaceAllString(d, "")
		}
	}
	return out
}

// withoutIno takes the inode numbers from what can't carry an xattr with its
// number.
func withoutIno(s map[string]string) map[string]string {
	out := maps.Clone(s)
	for p, d := range out {
		if !strings.HasPrefix(d, "dir") && !strings.HasPrefix(d, "file") {
			out[p] = inoField.ReplaceAllString(d, "")
		}
	}
	return out
}

var (
	nlinkField = regexp.MustCompile(` nlink=\S+`)
	inoField   = regexp.MustCompile(` ino=\S+`)
	privXattrs = regexp.MustCompile(` user\.plyfs\.\S+`)
)

var mtimeField = regexp.MustCompile(` mtime=\S+`)

// workIsEmpty allows what a mount is to leave: its own directories, empty,
// the records of plyfs and the mark of a volatile mount.
func workIsEmpty(t *testing.T, m *Mount) {
	filepath.WalkDir(m.Work, func(p string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(m.Work, p)
		switch {
		case err != nil:
			t.Error(err)
		case rel == "plyfs", rel == "index", rel == filepath.Join("work", "incompat"):
			return filepath.SkipDir
		case rel != "." && rel != "work":
			t.Errorf("left behind in the work directory: %s", rel)
		}
		return nil
	})
}

// kernelShowsTheSame mounts the upper with kernel overlayfs.
func kernelShowsTheSame(t *testing.T, m *Mount) {
	if err := m.Up(); err != nil {
		t.Fatal(err)
	}
	ours, err := Snapshot(m.Dir, shown)
	if derr := m.Down(); derr != nil {
		t.Error(derr)
	}
	if err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(m.Work, "work", "incompat"))
	k := *m
	k.extra, k.server = nil, nil
	k.v = &Variant{Kind: Overlay, Who: m.v.Who}
	if m.v.Who != Root {
		k.v.Options = []string{"userxattr"}
	}
	if err := k.Up(); err != nil {
		t.Fatal(err)
	}
	theirs, err := Snapshot(k.Dir, shown)
	if derr := k.Down(); derr != nil {
		t.Error(derr)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Ours are data to the kernel.
	for p, d := range theirs {
		theirs[p] = privXattrs.ReplaceAllString(d, "")
	}
	// With a private index plyfs shows what was written through one name
	// under every name of a lower hard link; in the kernel's view of the
	// upper the names that were never seen keep the old file.
	for p := range ours {
		if strings.Contains(p, "/unseen-") {
			delete(ours, p)
			delete(theirs, p)
		}
	}
	if d := Diff("plyfs", ours, "kernel", theirs); d != "" {
		t.Error(d)
	}
}
