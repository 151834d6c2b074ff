package union

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// beside is another union on the same lower layers.
func (e *env) beside() *env {
	e.Helper()
	b := &env{TB: e.TB, dir: e.TempDir(), o: e.o, shared: e.shared}
	b.o.Upper, b.o.Work = b.mkdir("upper"), b.mkdir("work")
	return b
}

// seen lists the sink's entries.
type seen struct {
	c     *client
	names []string
	dirs  []string
}

func (s *seen) Room(string) bool { return true }

func (s *seen) Add(string, uint64, uint32, uint64) bool { return false }

func (s *seen) AddPlus(name string, e *Entry, ino uint64, typ uint32, _ uint64) {
	if name == "." || name == ".." {
		return
	}
	a := e.Attr
	s.c.got(e.Node)
	s.names = append(s.names, fmt.Sprintf("%s %d %o %d %d %d:%d %d.%d %x %d", name, typ, a.Mode, a.Nlink, a.Size, a.UID, a.GID, a.Mtime.Sec, a.Mtime.Nsec, a.Rdev, ino))
	if a.Mode&unix.S_IFMT == unix.S_IFDIR {
		s.dirs = append(s.dirs, name)
	}
}

// listing is all that find -ls shows.
func (c *client) listing() []string {
	c.t.Helper()
	var all []string
	var walk func(id node.ID, path string)
	walk = func(id node.ID, path string) {
		s := seen{c: c}
		c.check("readdir "+path, c.fs.ReadDir(id, 0, true, &s))
		for _, n := range s.names {
			all = append(all, path+"/"+n)
		}
		for _, d := range s.dirs {
			e := c.walk(strings.TrimPrefix(path+"/"+d, "/"))
			walk(e.Node, path+"/"+d)
		}
	}
	walk(node.Root, "")
	slices.Sort(all)
	return all
}

// watch counts what is opened and listed in the lower layers, as the kernel
// tells: every directory is watched.
func (e *env) watch() (events func() int) {
	e.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { unix.Close(fd) })
	for _, l := range e.o.Lower {
		err := filepath.WalkDir(l, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_, err = unix.InotifyAddWatch(fd, p, unix.IN_OPEN|unix.IN_ACCESS)
			}
			return err
		})
		if err != nil {
			e.Fatal(err)
		}
	}
	return func() (n int) {
		buf := make([]byte, 1<<16)
		for {
			k, err := unix.Read(fd, buf)
			if err != nil {
				return n
			}
			n += k / unix.SizeofInotifyEvent
		}
	}
}

// lowerFDs is how many directories of lower layers the union has opened and
// kept: those that it went through to something in them.
func (e *env) lowerFDs() (n int) {
	for i := range e.fs.fds.shards {
		for k := range e.fs.fds.shards[i].byKey {
			if k.layer > 0 {
				n++
			}
		}
	}
	return n
}

func (e *env) image() {
	for i := range 5 {
		for _, d := range []string{"a", "a/b", "c", fmt.Sprint("only", i)} {
			e.file(fmt.Sprintf("lower%d/%s/file%d", i+1, d, i), strings.Repeat("x", i))
			e.file(fmt.Sprintf("lower%d/%s/same", i+1, d), strings.Repeat("y", i))
		}
	}
	e.whiteout("lower1/a/file3")
	e.whiteout("lower2/only3")
	e.setxattr("lower3/a/b", "user.overlay.opaque", "y")
}

// TestBaseIsShared: the second union on the same layers opens and lists none of
// their directories, whatever is looked at, but for the roots that it is given.
func TestBaseIsShared(t *testing.T) {
	e := newEnv(t, 5)
	e.image()
	e.shared = new(Bases)
	e.open()
	events := e.watch()
	want := e.c.listing()
	if n := events(); n == 0 || len(want) < 20 {
		t.Fatalf("the first union: %d events, %d names", n, len(want))
	}
	b := e.beside()
	b.mkdir("upper/a") // as a copy-up makes it
	b.open()
	events() // the roots
	if got := b.c.listing(); !slices.Equal(sans(got, "/a "), sans(want, "/a ")) {
		t.Errorf("the second union shows\n%s\nthe first\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := events(); n != 0 {
		t.Errorf("the second union: directories of the layers were opened or listed: %d events", n)
	}
	if n := b.lowerFDs(); n != 0 {
		t.Errorf("the second union: %d directories of the layers were gone through", n)
	}
	// It stays when nobody uses it, and for a while.
	e.close()
	b.reopen()
	events()
	b.c.listing()
	if n := events(); n != 0 {
		t.Errorf("a union later: %d events", n)
	}
	for i := range idleBases {
		o := newEnv(t, 1)
		o.file("lower1/f", fmt.Sprint(i))
		o.shared = e.shared
		o.open().c.listing()
		o.close()
	}
	b.close()
	if n := len(e.shared.m); n != idleBases {
		t.Errorf("%d bases that nobody uses", n)
	}
}

// sans leaves the line of a name out.
func sans(lines []string, prefix string) (left []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, prefix) {
			left = append(left, l)
		}
	}
	return left
}

// TestBaseOfOthers: layers that were changed since, or are read otherwise, are
// not taken for the same.
func TestBaseOfOthers(t *testing.T) {
	e := newEnv(t, 2)
	e.image2()
	e.shared = new(Bases)
	e.open().c.listing()
	e.close()
	e.file("lower2/new", "")
	if got := e.reopen().c.listing(); len(got) == 0 || !strings.HasPrefix(strings.Join(got, "\n"), "/") || !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "/new ") }) {
		t.Errorf("a changed root: %v", got)
	}
	e.close()
	n := len(e.shared.m)
	e.o.UserXattr = true
	e.reopen()
	if len(e.shared.m) == n && e.fs.ns.Prefix() == "trusted.overlay." {
		t.Error("other xattrs, the same base")
	}
	e.close()
	e.o.Live = true
	e.reopen()
	if e.fs.base != nil {
		t.Error("live lowers are shared")
	}
}

func (e *env) image2() {
	e.file("lower1/a/f", "1")
	e.file("lower2/a/g", "2")
}

// TestBaseIsNotChanged: whatever two unions do at once, each shows what it
// would show alone, and so does a third.
func TestBaseIsNotChanged(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			e := newEnv(t, 2)
			e.shared = new(Bases)
			if seed%3 == 2 {
				e.shared.budget = 8 // indexes come and go
			}
			for _, n := range []string{"a", "d/b", "d/s/c", "g", "dir/f", "dir/g"} {
				e.file("lower2/"+n, strings.Repeat(n, 900))
			}
			e.file("lower1/d/s/c", "above")
			e.whiteout("lower1/dir/g")
			link(t, e.path("lower2/a"), e.path("lower2/d/a2"))
			e.open()
			b, bases := e.beside(), e.shared
			b.open()
			virgin := e.beside().open().c.listing()
			rnd := rand.New(rand.NewPCG(seed, 7))
			for range 40 {
				for _, x := range []*env{e, b} {
					quotaStep(x, rnd)
					if rnd.IntN(4) == 0 {
						x.c.forgetAll()
					}
				}
			}
			for _, x := range []*env{e, b} {
				x.c.forgetAll()
				with := x.c.listing()
				x.reopen()
				again := x.c.listing()
				x.shared = nil
				alone := x.reopen().c.listing()
				if !slices.Equal(again, alone) {
					t.Errorf("shared\n%s\nalone\n%s", strings.Join(again, "\n"), strings.Join(alone, "\n"))
				}
				if !slices.Equal(namesOf(with), namesOf(alone)) {
					t.Errorf("before the remount\n%s\nalone\n%s", strings.Join(with, "\n"), strings.Join(alone, "\n"))
				}
			}
			third := e.beside()
			third.shared = bases
			if got := third.open().c.listing(); !slices.Equal(got, virgin) {
				t.Errorf("a third\n%s\nat first\n%s", strings.Join(got, "\n"), strings.Join(virgin, "\n"))
			}
		})
	}
}

func namesOf(lines []string) (n []string) {
	for _, l := range lines {
		n = append(n, l[:strings.IndexByte(l, ' ')])
	}
	return n
}
