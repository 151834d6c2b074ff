package counts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path string, n int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", n)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What was looked at once costs nothing any more.
func TestWarm(t *testing.T) {
	m := newMount(t, func(lower string) {
		write(t, lower+"/d/f", 10000)
		write(t, lower+"/d/other", 1)
		if err := os.Symlink("f", lower+"/d/link"); err != nil {
			t.Fatal(err)
		}
	})
	for _, op := range []struct {
		what string
		arg  []string
		cold counted
	}{
		{"open, read, close", []string{"read", "@d/f"}, counted{"LOOKUP": 2, "OPEN": 1, "READ": 2, "GETATTR": 1, "FLUSH": 1}},
		{"stat", []string{"stat", "@d/f"}, counted{"GETATTR": 1}}, // the read has changed the atime
		{"stat of an absent name", []string{"absent", "@d/absent"}, counted{"LOOKUP": 1}},
		{"stat below an absent name", []string{"absent", "@no/no/no"}, counted{"LOOKUP": 1}},
		{"readlink", []string{"readlink", "@d/link"}, counted{"LOOKUP": 2, "READLINK": 1}},
		{"readdir", []string{"list", "@d"}, counted{"OPENDIR": 1, "READDIR": 1, "READDIRPLUS": 1}},
		{"stat of the root", []string{"stat", "@"}, counted{"GETATTR": 1}},
	} {
		m.atMost(op.what+", cold", m.count(func() { m.do(op.arg...) }), op.cold)
		m.warm(op.what+", warm", func() { m.do(op.arg...) }, counted{})
	}
	// A program of a thousand files costs as little.
	m.warm("1000 opens", func() {
		for range 1000 {
			m.do("read", "@d/f")
		}
	}, counted{})
}

// After every change of names in a directory the kernel asks for its attributes
// again, at the next time that it checks a permission there: the GETATTRs.
func TestRemove(t *testing.T) {
	m := newMount(t, func(lower string) {
		for i := range 10 {
			write(t, fmt.Sprintf("%s/d/f%d", lower, i), 100)
		}
	})
	m.do("stat", "@d")
	m.do("unlink", "@d/f9") // copies the directory up
	m.do("stat", "@d/f0")
	slow := m.server.SlowTasks()
	m.atMost("unlink of a lower file", m.count(func() { m.do("unlink", "@d/f0") }), counted{"UNLINK": 1, "SETATTR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.atMost("rm of a lower file", m.count(func() { m.tool("rm", "d/f1") }),
		counted{"LOOKUP": 1, "GETATTR": 1, "UNLINK": 1, "SETATTR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.atMost("rm -r of 7 files", m.count(func() { m.tool("rm", "-r", "d") }),
		counted{"GETATTR": 9, "READDIR": 2, "READDIRPLUS": 2, "OPENDIR": 1, "UNLINK": 7, "RMDIR": 1, "SETATTR": 7, "FORGET": 8, "BATCH_FORGET": 8})
	// Nothing of it copies anything up, the SETATTRs about what is gone included.
	if n := m.server.SlowTasks() - slow; n > 0 {
		t.Errorf("%d requests had a goroutine of their own", n)
	}
}

// The kernel looks a name up before it makes it, asks for capabilities before
// it writes and before it changes an owner, and for the directory's attributes
// after it has changed: 4 of the 9. FUSE knows no way to answer those beforehand.
// (A fourth SETATTR comes for some files of a hundred: the clock has ticked between
// the write and its way to the server.)
func TestCreate(t *testing.T) {
	m := newMount(t, func(lower string) { write(t, lower+"/d/f", 1) })
	m.do("read", "@d/f")
	m.do("tar", "@d/first", "4096")
	// Eight about the file; and where another one was made before, the kernel
	// asks for the attributes of the directory that this has changed.
	want := counted{"LOOKUP": 1, "CREATE": 1, "GETXATTR": 2, "WRITE": 1, "SETATTR": 3}
	if n := want.total(); n != 8 {
		t.Fatalf("%d messages allowed for a file, want 8", n)
	}
	for k := range want {
		want[k] *= 100
	}
	want["GETATTR"] += 101
	want["SETATTR"] += 60
	m.atMost("100 files as tar makes them", m.count(func() {
		for i := range 100 {
			m.do("tar", fmt.Sprintf("@d/file%d", i), "4096")
		}
	}), want)
	m.atMost("mkdir", m.count(func() { m.do("mkdir", "@d/sub") }), counted{"LOOKUP": 1, "MKDIR": 1, "GETATTR": 1, "SETATTR": 1})
	m.atMost("rmdir", m.count(func() { m.do("rmdir", "@d/sub") }), counted{"RMDIR": 1, "GETATTR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.do("tar", "@d/a", "10")
	m.do("tar", "@d/b", "10")
	slow := m.server.SlowTasks()
	defer func() {
		if n := m.server.SlowTasks() - slow; n > 0 {
			t.Errorf("renames of upper files: %d requests had a goroutine of their own", n)
		}
	}()
	m.atMost("rename over a file", m.count(func() { m.do("rename", "@d/a", "@d/b") }),
		counted{"RENAME": 1, "SETATTR": 2, "FORGET": 1, "BATCH_FORGET": 1, "LOOKUP": 1, "GETATTR": 1})
}

func TestWrite(t *testing.T) {
	m := newMount(t, func(lower string) { write(t, lower+"/f", 100000) })
	m.do("read", "@f")
	m.atMost("append to a lower file and fsync", m.count(func() { m.do("append", "@f") }),
		counted{"WRITE": 1, "FSYNC": 1, "SETATTR": 1, "GETATTR": 1, "GETXATTR": 1})
	m.atMost("again", m.count(func() { m.do("append", "@f") }), counted{"WRITE": 1, "FSYNC": 1, "SETATTR": 1, "GETATTR": 1})
	m.atMost("10 MB", m.count(func() { m.do("tar", "@big", fmt.Sprint(10<<20)) }),
		counted{"LOOKUP": 1, "CREATE": 1, "WRITE": 12, "SETATTR": 4, "GETXATTR": 2, "GETATTR": 1})
}

// A tree is listed with one or two messages a directory, and not one a file.
func TestFind(t *testing.T) {
	const dirs, files = 20, 30
	m := newMount(t, func(lower string) {
		for d := range dirs {
			for f := range files {
				write(t, fmt.Sprintf("%s/d%d/a-file-with-a-name-%d", lower, d, f), 1)
			}
		}
	})
	find := func() { m.tool("find", ".", "-size", "+100") }
	m.atMost("find", m.count(find), counted{"GETATTR": 1, "OPENDIR": 1, "READDIR": dirs + 1, "READDIRPLUS": dirs + 1, "STATFS": 1})
	// Reading has changed the atimes of the directories; the files cost nothing.
	m.warm("find again", find, counted{"GETATTR": dirs + 1, "STATFS": 1})
	// A label and an ACL are asked for each file, and a default ACL for each directory.
	ls := func() { m.tool("ls", "-lR") }
	m.warm("ls -lR", ls, counted{"GETXATTR": 2*dirs*files + 3*(dirs+1), "LISTXATTR": dirs*files + dirs + 1, "STATFS": 1})
}
