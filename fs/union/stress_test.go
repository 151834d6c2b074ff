package union

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

var (
	stressSeed = flag.Uint64("stress.seed", 1, "seed of the stress tests")
	stressOps  = flag.Int("stress.ops", 1500, "operations of each stress worker")
)

// watch ends the process with the stacks of all goroutines when a test hangs.
func watch(t *testing.T, d time.Duration) {
	t.Helper()
	debug.SetTraceback("all")
	w := time.AfterFunc(d, func() { panic(t.Name() + " hangs") })
	t.Cleanup(func() { w.Stop() })
}

// stressLayers fills the lowers: directories that merge, whiteouts, opaque
// ones, hard links, files of some pages.
func stressLayers(e *env) {
	for _, l := range []string{"lower1", "lower2"} {
		for _, d := range []string{"", "d0/", "d1/", "d0/d1/", "d2/d0/"} {
			for i := range 4 {
				e.file(fmt.Sprintf("%s/%sf%d", l, d, i), l+d+strings.Repeat(fmt.Sprint(i), 100*i*i*i))
			}
		}
	}
	link(e, e.path("lower2/d1/f1"), e.path("lower2/d0/f5"))
	link(e, e.path("lower2/d1/f1"), e.path("lower2/f6"))
	e.whiteout("lower1/d2/d0/f4")
	e.mkdir("lower1/d3")
	e.setxattr("lower1/d0/d1", "trusted.overlay.opaque", "y")
}

// worker is one goroutine of the stress: a client with its own counts.
type worker struct {
	*client
	r    *rand.Rand
	held []node.ID // open files, perhaps removed
}

func (w *worker) name() string {
	if w.r.IntN(3) == 0 {
		return fmt.Sprintf("d%d", w.r.IntN(4))
	}
	return fmt.Sprintf("f%d", w.r.IntN(7))
}

// dirOf walks to a random directory.
func (w *worker) dirOf() (node.ID, bool) {
	id := node.Root
	for depth := w.r.IntN(4); depth > 0; depth-- {
		var e Entry
		if w.fs.Lookup(id, fmt.Sprintf("d%d", w.r.IntN(4)), &e) != 0 {
			break
		}
		w.got(e.Node)
		if e.Attr.Mode&unix.S_IFMT != unix.S_IFDIR {
			break
		}
		id = e.Node
	}
	return id, true
}

// expected are the errors that concurrent operations may meet.
var expected = map[syscall.Errno]bool{
	0: true, unix.ENOENT: true, unix.EEXIST: true, unix.ENOTEMPTY: true, unix.EISDIR: true, unix.ENOTDIR: true,
	unix.EINVAL: true, unix.EXDEV: true, unix.EPERM: true,
}

func (w *worker) step() {
	d, _ := w.dirOf()
	n := w.name()
	var e Entry
	op, errno := "", syscall.Errno(0)
	entry := func(x syscall.Errno) {
		if errno = x; x == 0 {
			w.got(e.Node)
		}
	}
	switch w.r.IntN(16) {
	case 0, 1:
		op = "create"
		entry(w.fs.Create(caller, d, n, 0o644, 0, &e))
		if errno == 0 {
			_, errno = w.fs.Write(e.Node, []byte(n), 0, nil)
			if errno == unix.EISDIR {
				errno = unix.EIO
			}
		}
	case 2:
		op = "mkdir"
		entry(w.fs.Mkdir(caller, d, n, 0o755, &e))
	case 3:
		op = "symlink"
		entry(w.fs.Symlink(caller, d, n, "target", &e))
	case 4, 5:
		op = "unlink"
		errno = w.fs.Unlink(d, n)
	case 6:
		op = "rmdir"
		errno = w.fs.Rmdir(d, n)
	case 7, 8:
		op = "rename"
		to, _ := w.dirOf()
		flags := uint32(0)
		if k := w.r.IntN(6); k < 2 {
			flags = uint32(k) + 1
		}
		target := w.name()
		if to != d && target[0] == 'd' {
			target = "f0" // never a directory above the source: the kernel refuses that itself
		}
		// The kernel holds what it renames, and what is there.
		if w.fs.Lookup(d, n, &e) == 0 {
			w.got(e.Node)
		}
		if w.fs.Lookup(to, target, &e) == 0 {
			w.got(e.Node)
		}
		errno = w.fs.Rename(d, n, to, target, flags)
	case 9:
		op = "link"
		if entry(w.fs.Lookup(d, n, &e)); errno == 0 && e.Attr.Mode&unix.S_IFMT == unix.S_IFREG {
			to, _ := w.dirOf()
			entry(w.fs.Link(e.Node, to, w.name(), &e))
		}
	case 10, 11:
		op = "write"
		if entry(w.fs.Lookup(d, n, &e)); errno == 0 && e.Attr.Mode&unix.S_IFMT == unix.S_IFREG {
			_, errno = w.fs.Write(e.Node, []byte(fmt.Sprint(w.r.IntN(100))), int64(w.r.IntN(50)), []*Caller{nil, {GID: 5}}[w.r.IntN(2)])
			w.held = append(w.held, e.Node)
		}
	case 12:
		op = "setattr"
		if entry(w.fs.Lookup(d, n, &e)); errno == 0 && e.Attr.Mode&unix.S_IFMT != unix.S_IFLNK {
			var a Attr
			ch := AttrChange{Valid: SetMode, Mode: 0o600 + uint32(w.r.IntN(64))}
			if w.r.IntN(2) == 0 && e.Attr.Mode&unix.S_IFMT == unix.S_IFREG {
				ch = AttrChange{Valid: SetSize, Size: uint64(w.r.IntN(30))}
			}
			errno = w.fs.SetAttr(caller, e.Node, &ch, &a)
		}
	case 13:
		op = "readdir"
		s := names{max: 100}
		errno = w.fs.ReadDir(d, 0, w.r.IntN(2) == 0, &s)
		for _, e := range s.got {
			if e.Node != 0 {
				w.got(e.Node)
			}
		}
	case 14:
		op = "held"
		for _, id := range w.held {
			var a Attr
			if errno = w.fs.GetAttr(id, &a); errno == 0 {
				_, errno = w.fs.Read(id, make([]byte, 64), 0)
			}
			if errno == unix.ENOENT {
				errno = unix.EIO
			}
			if errno != 0 {
				break
			}
		}
	case 15:
		w.held = w.held[:0]
		w.forgetAll()
	}
	if !expected[errno] {
		w.t.Errorf("%s %s in %s: %v", op, n, w.fs.Name(d), errno)
	}
}

func stress(t *testing.T, workers int, opts layer.Options, tune func(*FS)) {
	watch(t, time.Minute)
	fds := openFDs(t)
	e := newEnv(t, 2)
	stressLayers(e)
	opts.Lower, opts.Upper, opts.Work = e.o.Lower, e.o.Upper, e.o.Work
	opts.RenameLimit = 1 << 30
	opts.Fsync, opts.NoMarker = layer.FsyncVolatile, true
	e.o = opts
	e.open()
	if raceOn {
		e.onHeap(1 << 16)
	}
	if tune != nil {
		tune(e.fs)
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := &worker{
				client: &client{t: t, fs: e.fs, n: map[node.ID]uint64{}},
				r:      rand.New(rand.NewPCG(*stressSeed, uint64(i))),
			}
			for range *stressOps {
				w.step()
				if t.Failed() {
					break
				}
			}
			w.forgetAll()
		}()
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	before := e.c.tree()
	e.c.forgetAll()
	if n := e.fs.Nodes(); n != 1 {
		t.Errorf("%d nodes are left when all is forgotten", n)
	}
	e.reopen()
	before = unseenLinks.ReplaceAllString(before, "$1 n $2")
	if after := unseenLinks.ReplaceAllString(e.c.tree(), "$1 n $2"); before != after {
		t.Errorf("the view changed with a remount:\n%s", diffLines(before, after))
	}
	e.c.forgetAll()
	e.close()
	e.workEmpty()
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
}

// unseenLinks are files that are still in the layer that had them under three
// names: how many of those were removed is known as long as the mount lives
// (docs/semantics.md).
var unseenLinks = regexp.MustCompile(`( 100\d{3}) \d+ ("lower2d1/)`)

func diffLines(a, b string) string {
	has := func(s string) map[string]bool {
		m := map[string]bool{}
		for l := range strings.SplitSeq(s, "\n") {
			m[l] = true
		}
		return m
	}
	var out []string
	x, y := has(a), has(b)
	for l := range strings.SplitSeq(a, "\n") {
		if !y[l] {
			out = append(out, "- "+l)
		}
	}
	for l := range strings.SplitSeq(b, "\n") {
		if !x[l] {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

func TestStressOne(t *testing.T) { stress(t, 1, layer.Options{}, nil) }

func TestStress(t *testing.T) { stress(t, 8, layer.Options{}, nil) }

func TestStressRedirect(t *testing.T) { stress(t, 8, layer.Options{Redirect: layer.RedirectOn}, nil) }

func TestStressUserXattr(t *testing.T) { stress(t, 8, layer.Options{UserXattr: true}, nil) }

func TestStressSmallCaches(t *testing.T) {
	stress(t, 8, layer.Options{}, func(fs *FS) {
		fs.fds = newFDCache(32)
		fs.dirs.budget = 10
	})
}
