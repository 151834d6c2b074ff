package union

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

func devNull(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func fdOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func cacheKey(i int) fdKey { return fdKey{node.Make(uint32(i), 1), 0, kindFile} }

func TestFDCache(t *testing.T) {
	before := openFDs(t)
	c := newFDCache(32)
	held := c.put(cacheKey(0), devNull(t))
	for i := 1; i < 1000; i++ {
		c.put(cacheKey(i), devNull(t)).release()
	}
	if n := openFDs(t) - before; n > 33 {
		t.Errorf("%d descriptors with a limit of 32", n)
	}
	if p, ok := c.get(cacheKey(0)); !ok || p.fd != held.fd {
		t.Error("a pinned descriptor was closed")
	} else {
		p.release()
	}
	// Dropped while in use: closed with the last release, found no more.
	c.drop(cacheKey(0))
	if _, ok := c.get(cacheKey(0)); ok {
		t.Error("found after drop")
	}
	if !fdOpen(held.fd) {
		t.Error("closed while in use")
	}
	fd := held.fd
	held.release()
	if fdOpen(fd) {
		t.Error("not closed")
	}
	// Two put the same: one descriptor is kept.
	a := c.put(cacheKey(7), devNull(t))
	b := c.put(cacheKey(7), devNull(t))
	if a.fd != b.fd {
		t.Error("two descriptors for one key")
	}
	a.release()
	b.release()
	c.shrink()
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

// The least recently used goes first.
func TestFDCacheLRU(t *testing.T) {
	c := newFDCache(32)
	defer c.shrink()
	for i := range 500 {
		c.put(cacheKey(i), devNull(t)).release()
		if p, ok := c.get(cacheKey(0)); ok {
			p.release()
		} else {
			t.Fatalf("the one in constant use was evicted at %d", i)
		}
	}
}

func TestFDCacheExhausted(t *testing.T) {
	c := newFDCache(32)
	fd := devNull(t)
	c.put(cacheKey(1), fd).release()
	n := 0
	got, errno := c.open(func() (int, syscall.Errno) {
		if n++; n == 1 {
			return -1, unix.EMFILE
		}
		return 99, 0
	})
	if got != 99 || errno != 0 || n != 2 || fdOpen(fd) {
		t.Errorf("%d %v after %d calls; still open: %v", got, errno, n, fdOpen(fd))
	}
}

func TestFDCacheConcurrent(t *testing.T) {
	before := openFDs(t)
	c := newFDCache(32)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 5000 {
				k := cacheKey(r.IntN(60))
				switch r.IntN(10) {
				case 0:
					c.drop(k)
				case 1:
					c.shrink()
				default:
					p, ok := c.get(k)
					if !ok {
						p = c.put(k, devNull(t))
					}
					if !fdOpen(p.fd) {
						t.Error("a pinned descriptor is closed")
					}
					p.release()
				}
			}
		}()
	}
	wg.Wait()
	c.shrink()
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

// With few descriptors and no room for indexes the view is the same.
func TestSmallCaches(t *testing.T) {
	e := newEnv(t, 2)
	for i := range 40 {
		for k := range 5 {
			e.file(fmt.Sprintf("lower%d/d%d/e%d/f%d", k%2+1, i, k, i), fmt.Sprint(i, k))
		}
	}
	e.open()
	want := e.c.tree()
	e.reopen()
	before := openFDs(t)
	e.fs.fds = newFDCache(32)
	e.fs.dirs.budget = 20
	if e.c.tree() != want {
		t.Error("another view")
	}
	if n := e.fs.dirs.names.Load(); n > 100 {
		t.Errorf("%d names in the indexes", n)
	}
	e.c.unlink("d3/e1/f3")
	e.c.create("d3/e1/new", 0o644)
	e.c.rename("d4/e2", "d4/moved")
	after := e.c.tree()
	if n := openFDs(t) - before; n > 40 {
		t.Errorf("%d descriptors more than before", n)
	}
	if n := e.fs.dirs.names.Load(); n > 100 {
		t.Errorf("%d names in the indexes", n)
	}
	e.reopen()
	if got := e.c.tree(); got != after {
		t.Errorf("after a remount:\n%s", diffLines(after, got))
	}
	e.c.forgetAll()
	if n := e.fs.dirs.names.Load(); n > int64(e.fs.dirs.get(1).ix.Len()) {
		t.Errorf("%d names are counted when all is forgotten", n)
	}
}
