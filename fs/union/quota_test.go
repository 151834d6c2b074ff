package union

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"golang.org/x/sys/unix"
)

// usage counts what an upper layer takes, by a walk.
func (e *env) usage() (u Usage) {
	e.Helper()
	seen := map[uint64]bool{}
	for _, root := range []string{e.path("upper"), e.path("work/plyfs/index")} {
		err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
			var st unix.Stat_t
			if errors.Is(err, fs.ErrNotExist) || p == e.path("work/plyfs/index") {
				return nil
			}
			if err != nil || unix.Lstat(p, &st) != nil || seen[st.Ino] {
				return err
			}
			seen[st.Ino] = true
			u.Bytes += st.Blocks * 512
			u.Inodes++
			return nil
		})
		if err != nil {
			e.Fatal(err)
		}
	}
	return u
}

// checkUsage compares the walk with the count.
func (e *env) checkUsage(after string) {
	e.Helper()
	e.fs.quota.recount.running.Wait()
	got, ok := e.fs.Usage()
	if want := e.usage(); !ok || got != want {
		e.Fatalf("counted %+v (known: %v), used %+v after %s", got, ok, want, after)
	}
}

// TestUsageCounts: whatever was done, the count is that of the upper, whether it
// is for size_limit or began in the background.
func TestUsageCounts(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			e := newEnv(t, 1)
			if seed%2 == 0 {
				e.o.SizeLimit = 64 << 20
			}
			for _, n := range []string{"a", "d/b", "d/s/c", "g"} {
				e.file("lower1/"+n, strings.Repeat(n, 9000))
			}
			link(t, e.path("lower1/a"), e.path("lower1/d/a2"))
			e.file("upper/old", strings.Repeat("old", 5000))
			e.open()
			e.fs.CountUsage(Counters{})
			rnd := rand.New(rand.NewPCG(seed, 1))
			var did []string
			for range 60 {
				did = append(did, quotaStep(e, rnd))
				e.c.forgetAll()
				e.checkUsage(strings.Join(did, "\n"))
			}
			e.reopen()
			e.fs.CountUsage(Counters{})
			e.checkUsage("a remount")
		})
	}
}

// quotaStep does something; that it may fail does not matter.
func quotaStep(e *env, rnd *rand.Rand) string {
	paths := []string{"a", "d/b", "d/s/c", "g", "d/a2", "old", "d/s/new", "new", "d/dir", "dir", "dir/f"}
	p, q := paths[rnd.IntN(len(paths))], paths[rnd.IntN(len(paths))]
	parent, errP := e.c.try(filepath.Dir(p))
	if filepath.Dir(p) == "." {
		parent, errP = e.c.try("")
	}
	if errP != 0 {
		return ""
	}
	name := filepath.Base(p)
	var en Entry
	var a Attr
	at, found := e.c.try(p)
	what := rnd.IntN(12)
	var errno syscall.Errno
	switch {
	case what == 0:
		errno = e.fs.Unlink(parent.Node, name)
	case what == 1:
		errno = e.fs.Rmdir(parent.Node, name)
	case what == 2:
		if x := e.fs.Mkdir(caller, parent.Node, name, 0o755, &en); x == 0 {
			e.c.got(en.Node)
		}
	case what == 3:
		if x := e.fs.Create(caller, parent.Node, name, 0o644, 0, &en); x == 0 {
			e.c.got(en.Node)
			_, x = e.fs.Write(en.Node, make([]byte, rnd.IntN(60000)), 0, nil)
			errno = x
		}
	case what == 4 && found == 0 && at.Attr.Mode&unix.S_IFMT == unix.S_IFREG:
		_, x := e.fs.Write(at.Node, make([]byte, rnd.IntN(60000)), int64(rnd.IntN(100000)), nil)
		errno = x
	case what == 5 && found == 0 && at.Attr.Mode&unix.S_IFMT == unix.S_IFREG:
		errno = e.fs.SetAttr(caller, at.Node, &AttrChange{Valid: SetSize, Size: uint64(rnd.IntN(100000))}, &a)
	case what == 6 && found == 0:
		errno = e.fs.SetAttr(caller, at.Node, &AttrChange{Valid: SetMode, Mode: 0o755}, &a)
	case what == 8 && found == 0:
		errno = e.fs.SetXattr(at.Node, "user.large", make([]byte, rnd.IntN(3000)), 0)
	case what == 9 && found == 0 && at.Attr.Mode&unix.S_IFMT == unix.S_IFDIR:
		for n := range 40 + rnd.IntN(40) { // more names than a block holds
			var en Entry
			if x := e.fs.Symlink(caller, at.Node, fmt.Sprint(n, strings.Repeat("n", 200)), "t", &en); x == 0 {
				e.c.got(en.Node)
			}
		}
	case what == 7 && found == 0 && at.Attr.Mode&unix.S_IFMT == unix.S_IFREG:
		if to, x := e.c.try(filepath.Dir("./" + q)); x == 0 || filepath.Dir(q) == "." {
			if filepath.Dir(q) == "." {
				to.Node = 1
			}
			if x := e.fs.Link(at.Node, to.Node, filepath.Base(q), &en); x == 0 {
				e.c.got(en.Node)
			}
		}
	case found == 0:
		if _, x := e.c.try(filepath.Dir(q)); x == 0 || filepath.Dir(q) == "." {
			errno = e.c.renameErr(p, q, uint32(rnd.IntN(2))*unix.RENAME_EXCHANGE)
		}
	}
	return fmt.Sprintf("%d %s %s: %v", what, p, q, errno)
}

// TestSizeLimitRefuses: what would grow the upper beyond the limit is ENOSPC,
// what makes it smaller is not, and statfs shows the limit.
func TestSizeLimitRefuses(t *testing.T) {
	e := newEnv(t, 1)
	e.o.SizeLimit = 1 << 20
	e.file("lower1/big", strings.Repeat("x", 2<<20))
	e.file("lower1/small", "s")
	e.open()
	var st Statfs
	e.c.check("statfs", e.fs.Statfs(&st))
	if total := st.Blocks * uint64(st.Frsize); total > 1<<20 || st.Bavail > st.Blocks {
		t.Errorf("statfs shows %d bytes, %d of %d blocks free", total, st.Bavail, st.Blocks)
	}
	big, small := e.c.id("big"), e.c.id("small")
	if _, errno := e.fs.Write(big, []byte("x"), 0, nil); errno != unix.ENOSPC {
		t.Errorf("a copy-up beyond the limit: %v", errno)
	}
	var a Attr
	if errno := e.fs.SetAttr(caller, big, &AttrChange{Valid: SetSize, Size: 1000}, &a); errno != 0 {
		t.Errorf("a truncation below it: %v", errno)
	}
	if _, errno := e.fs.Write(small, make([]byte, 2<<20), 0, nil); errno != unix.ENOSPC {
		t.Errorf("a write beyond it: %v", errno)
	}
	f := e.c.create("new", 0o644)
	for off := int64(0); ; off += 64 << 10 {
		if off > 1<<20 {
			t.Fatal("no end to what may be written")
		}
		if _, errno := e.fs.Write(f, make([]byte, 64<<10), off, nil); errno == unix.ENOSPC {
			break
		} else if errno != 0 {
			t.Fatal(errno)
		}
	}
	if used := e.usage(); used.Bytes > 1<<20 {
		t.Errorf("the upper takes %d bytes", used.Bytes)
	}
	e.c.unlink("new")
	e.c.forgetAll()
	e.c.write(e.c.id("small"), "fits again", 0)
}

// TestReserve: when little space is left nothing new is begun, so that what
// the kernel's cache has accepted for files that are there can be written.
func TestReserve(t *testing.T) {
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	for _, writeback := range []bool{true, false} {
		e := newEnv(t, 1)
		nsbox.Tmpfs(t, e.mkdir("small"), "size=64m")
		e.o.Upper, e.o.Work = e.mkdir("small/upper"), e.mkdir("small/work")
		e.o.NoWriteback = !writeback
		e.file("lower1/f", strings.Repeat("f", 5000))
		e.open()
		old := e.c.create("old", 0o644)
		// 1/64 of it is kept: leave half of that.
		e.file("small/fill", strings.Repeat("x", 64<<20-600<<10))
		time.Sleep(time.Duration(2 * reserveAge))
		var en Entry
		want := unix.ENOSPC
		if !writeback {
			want = 0
		}
		errno := e.fs.Create(caller, 1, "new", 0o644, 0, &en)
		if errno != want {
			t.Errorf("writeback %v: create with little space: %v, want %v", writeback, errno, want)
		}
		if errno == 0 {
			e.c.got(en.Node)
		}
		if _, errno := e.fs.Write(e.c.id("f"), []byte("F"), 0, nil); errno != want {
			t.Errorf("writeback %v: copy-up with little space: %v, want %v", writeback, errno, want)
		}
		e.c.write(old, strings.Repeat("o", 100<<10), 0)
		e.c.unlink("f")
		e.c.unlink("old")
	}
}
