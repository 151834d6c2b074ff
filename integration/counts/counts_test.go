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
		{"open, read, close", []string{"read", "@d/f"}, counted{"LOOKUP": 2, "OPEN": 1, "READ": 2, "GETATTR": 1, "GETXATTR": 1}},
		{"stat", []string{"stat", "@d/f"}, counted{"GETATTR": 1}},
		{"stat of an absent name", []string{"absent", "@d/absent"}, counted{"LOOKUP": 1}},
		{"stat below an absent name", []string{"absent", "@no/no/no"}, counted{"LOOKUP": 1}},
		{"readlink", []string{"readlink", "@d/link"}, counted{"LOOKUP": 1, "READLINK": 1}},
		{"readdir", []string{"list", "@d"}, counted{"OPENDIR": 1, "READDIR": 2, "READDIRPLUS": 2, "GETATTR": 1}},
		{"stat of the root", []string{"stat", "@"}, counted{"GETATTR": 1}},
	} {
		m.atMost(op.what+", cold", m.count(func() { m.do(op.arg...) }), op.cold)
		m.atMost(op.what+", warm", m.count(func() { m.do(op.arg...) }), counted{})
	}
	// A program of a thousand files costs as little.
	m.atMost("1000 opens", m.count(func() {
		for range 1000 {
			m.do("read", "@d/f")
		}
	}), counted{})
}

func TestRemove(t *testing.T) {
	m := newMount(t, func(lower string) {
		for i := range 10 {
			write(t, fmt.Sprintf("%s/d/f%d", lower, i), 100)
		}
	})
	m.do("stat", "@d")
	m.do("unlink", "@d/f9") // copies the directory up
	m.do("stat", "@d/f0")
	m.atMost("unlink of a lower file", m.count(func() { m.do("unlink", "@d/f0") }), counted{"UNLINK": 1, "SETATTR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.atMost("rm of a lower file", m.count(func() { m.tool("rm", "d/f1") }),
		counted{"LOOKUP": 1, "UNLINK": 1, "SETATTR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.atMost("rm -r", m.count(func() { m.tool("rm", "-r", "d") }),
		counted{"LOOKUP": 7, "GETATTR": 4, "READDIR": 3, "READDIRPLUS": 3, "OPENDIR": 1, "UNLINK": 7, "RMDIR": 1, "SETATTR": 8, "FORGET": 9, "BATCH_FORGET": 9})
}

func TestCreate(t *testing.T) {
	m := newMount(t, func(lower string) { write(t, lower+"/d/f", 1) })
	m.do("stat", "@d/f")
	m.do("tar", "@d/first", "4096")
	one := m.count(func() { m.do("tar", "@d/file", "4096") })
	if n := one.total(); n > 8 {
		t.Errorf("a file as tar makes it: %d messages: %v", n, one)
	}
	many := m.count(func() {
		for i := range 100 {
			m.do("tar", fmt.Sprintf("@d/file%d", i), "4096")
		}
	})
	if n := many.total(); n > 800 {
		t.Errorf("100 files as tar makes them: %d messages: %v", n, many)
	}
	t.Logf("one: %v; a hundred: %v", one, many)
	m.atMost("mkdir", m.count(func() { m.do("mkdir", "@d/sub") }), counted{"LOOKUP": 1, "MKDIR": 1, "GETATTR": 1, "SETATTR": 1})
	m.atMost("rmdir", m.count(func() { m.do("rmdir", "@d/sub") }), counted{"RMDIR": 1, "FORGET": 1, "BATCH_FORGET": 1})
	m.do("tar", "@d/a", "10")
	m.do("tar", "@d/b", "10")
	m.atMost("rename over a file", m.count(func() { m.do("rename", "@d/a", "@d/b") }),
		counted{"RENAME": 1, "RENAME2": 1, "SETATTR": 2, "FORGET": 1, "BATCH_FORGET": 1, "LOOKUP": 1, "WRITE": 2, "GETATTR": 1, "GETXATTR": 1, "FLUSH": 1})
}

func TestWrite(t *testing.T) {
	m := newMount(t, func(lower string) { write(t, lower+"/f", 100000) })
	m.do("read", "@f")
	m.atMost("append to a lower file and fsync", m.count(func() { m.do("append", "@f") }),
		counted{"OPEN": 1, "WRITE": 1, "FSYNC": 1, "SETATTR": 1, "GETATTR": 1, "GETXATTR": 1, "FLUSH": 1, "READ": 1, "RELEASE": 1})
	m.atMost("again", m.count(func() { m.do("append", "@f") }),
		counted{"WRITE": 1, "FSYNC": 1, "SETATTR": 1, "GETATTR": 1, "READ": 1})
	m.atMost("10 MB", m.count(func() { m.do("tar", "@big", fmt.Sprint(10<<20)) }),
		counted{"LOOKUP": 1, "CREATE": 1, "WRITE": 20, "SETATTR": 4, "GETXATTR": 1, "FLUSH": 1, "RELEASE": 1, "GETATTR": 1})
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
	got := m.count(func() { m.tool("find", ".", "-size", "+100") })
	m.atMost("find", got, counted{"LOOKUP": dirs + 1, "GETATTR": 2*dirs + 2, "OPENDIR": 1, "READDIR": 3 * (dirs + 1), "READDIRPLUS": 3 * (dirs + 1)})
	if n := got["READDIR"] + got["READDIRPLUS"]; n > 3*(dirs+1) {
		t.Errorf("%d messages to list %d directories", n, dirs+1)
	}
	m.atMost("find again", m.count(func() { m.tool("find", ".", "-size", "+100") }), counted{})
	m.atMost("ls -lR", m.count(func() { m.tool("ls", "-lR") }), counted{"GETXATTR": 2 * (dirs*files + dirs + 1), "LISTXATTR": dirs*files + dirs + 1})
}
