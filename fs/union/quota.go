package union

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// quota counts what the upper takes, and enforces size_limit: the sum of
// st_blocks over the inodes of the upper layer and of plyfs/index, and of what
// was removed and is still open; a file with several names once. What a call
// allocates is added when it is done, and a call that may grow is refused
// beforehand, so the limit is overshot by file system overhead only.
//
// One rule keeps the count: whoever makes an object in the upper calls add,
// whoever takes one of its names away does so in removing, and whoever changes
// the names in a directory or the xattrs of an object does so in around. What
// has a temporary name in work/ is not counted before it is in its place.
type quota struct {
	on    bool // count; set before the first request
	limit uint64
	Counters
	own     [3]atomic.Int64 // what Counters leads to when nobody else wants to read it
	changes atomic.Uint64   // goes up before and after whatever is counted
	busy    atomic.Int64    // what is being done that will be counted
	recount recount
	files   [64]sync.Mutex // by descriptor: two writers of a file don't count the same blocks
	white   sharedWhiteout

	reserve reserve
}

// reserve keeps some space free for data that the kernel's writeback cache has
// accepted already: new files and copy-ups fail with ENOSPC before it is used
// up, where the client sees it. The file system is asked at most every
// reserveAge, so a create costs no system call more.
type reserve struct {
	fd      int // -1: off
	checked atomic.Int64
	low     atomic.Bool
}

const (
	reserveBytes = 64 << 20
	reserveShare = 64 // at most this part of a small file system
	reserveAge   = int64(100 * time.Millisecond)
)

var begun = time.Now()

func (r *reserve) room() syscall.Errno {
	if r.fd < 0 {
		return 0
	}
	now := int64(time.Since(begun)) // a clock that is set back must not stop it
	if c := r.checked.Load(); c == 0 || now-c > reserveAge {
		r.checked.Store(now)
		var st unix.Statfs_t
		if sys.Statfs(r.fd, &st) == 0 {
			free := st.Bavail * uint64(st.Frsize)
			r.low.Store(free < min(reserveBytes, st.Blocks*uint64(st.Frsize)/reserveShare))
		}
	}
	if r.low.Load() {
		return unix.ENOSPC
	}
	return 0
}

func (q *quota) active() bool { return q.on }

func (q *quota) change(bytes, inodes int64) {
	q.changes.Add(1)
	q.Bytes.Add(bytes)
	q.Inodes.Add(inodes)
}

// start counts what is there. The upper must not be huge for that to be quick;
// without a limit nothing is counted here.
func (q *quota) start(fs *FS) error {
	q.Counters = Counters{&q.own[0], &q.own[1], &q.own[2]}
	q.white.fs = fs
	q.limit = fs.o.SizeLimit
	q.reserve.fd = -1
	if fs.writeback() {
		q.reserve.fd = fs.layers[0].fd
	}
	if q.limit == 0 {
		return nil
	}
	u, e := fs.countUpper(func() bool { return false })
	if e != 0 {
		return fmt.Errorf("upperdir %s: can't count what size_limit limits: %w", fs.stack.Upper.Path, e)
	}
	q.on = true
	q.change(u.Bytes, u.Inodes)
	return nil
}

// begin announces that something on disk is about to change, or to move, that
// will be counted by the time of end: a count under way would see it, and not
// know that it is added as well, or see it in two places.
func (q *quota) begin() {
	if q.on {
		q.busy.Add(1)
		q.changes.Add(1)
	}
}

func (q *quota) end() {
	if q.on {
		q.changes.Add(1)
		q.busy.Add(-1)
	}
}

// room says whether n more bytes may be allocated.
func (q *quota) room(n int64) syscall.Errno {
	if q.limit != 0 && q.Bytes.Load()+n > int64(q.limit) {
		return unix.ENOSPC
	}
	return 0
}

// admit is room for something new: a file, or a copy-up.
func (q *quota) admit(n int64) syscall.Errno {
	if e := q.room(n); e != 0 {
		return e
	}
	return q.reserve.room()
}

// grow runs fn, which may change the blocks of fd by up to n bytes more.
func (q *quota) grow(fd int, n int64, fn func() syscall.Errno) syscall.Errno {
	if !q.on {
		return fn()
	}
	if e := q.room(n); e != 0 {
		return e
	}
	q.begin()
	defer q.end()
	m := &q.files[fd%len(q.files)]
	m.Lock()
	defer m.Unlock()
	before := blocksOf(fd)
	e := fn()
	if d := blocksOf(fd) - before; d != 0 {
		q.change(d, 0)
	}
	return e
}

// around runs fn, which may change the blocks of an object that is counted, but
// not by its data: its xattrs, or the names in a directory.
func (q *quota) around(dirfd int, name string, fn func() syscall.Errno) syscall.Errno {
	if !q.on {
		return fn()
	}
	q.begin()
	defer q.end()
	var before, after sys.Stat
	known := sys.StatAt(dirfd, name, &before) == 0
	e := fn()
	if known && sys.StatAt(dirfd, name, &after) == 0 && after.Blocks != before.Blocks {
		q.change((after.Blocks-before.Blocks)*512, 0)
	}
	return e
}

// add counts an object that was just made.
func (q *quota) add(dirfd int, name string) {
	if !q.on {
		return
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) == 0 {
		q.change(st.Blocks*512, 1)
	}
}

// removing runs fn, which takes a name away or replaces what it leads to, and
// counts off what is gone with it.
func (q *quota) removing(dirfd int, name string, fn func() syscall.Errno) syscall.Errno {
	q.begin()
	defer q.end()
	gone, white := q.last(dirfd, name)
	e := fn()
	if e == 0 && gone != (Usage{}) {
		q.change(-gone.Bytes, -gone.Inodes)
	}
	if e == 0 && white {
		q.countWhite()
	}
	return e
}

// last is what goes with a name: nothing, when the object has others. It may
// be the last but one of the shared whiteout: then white is true.
func (q *quota) last(dirfd int, name string) (gone Usage, white bool) {
	var st sys.Stat
	if !q.on || sys.StatAt(dirfd, name, &st) != 0 {
		return gone, false
	}
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return gone, st.Nlink == 2 && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
	}
	return Usage{Bytes: st.Blocks * 512, Inodes: 1}, false
}

// sharedWhiteout is what is counted for the inode that whiteouts are links to:
// 1 when the upper layer has names of it. It has no blocks.
type sharedWhiteout struct {
	fs      *FS
	mu      sync.Mutex
	counted atomic.Int64
}

// countWhite counts the shared whiteout in or off. Who links it does so first
// and asks then whether it is counted: so after counting it off it is looked at
// again.
func (q *quota) countWhite() {
	w := &q.white
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		var st sys.Stat
		n := int64(0)
		if sys.StatAt(w.fs.work.tmp, whiteoutName, &st) == 0 && st.Nlink > 1 {
			n = 1
		}
		d := n - w.counted.Load()
		if d == 0 {
			return
		}
		q.change(0, d)
		w.counted.Store(n)
	}
}

// renewWhite leaves the shared whiteout to its names.
func (q *quota) renewWhite() {
	q.white.mu.Lock()
	defer q.white.mu.Unlock()
	q.white.counted.Store(0)
}

func blocksOf(fd int) int64 {
	var st sys.Stat
	if sys.StatFD(fd, &st) != 0 {
		return 0
	}
	return st.Blocks * 512
}

// statfs shows the limit as the size of the file system.
func (q *quota) statfs(out *Statfs) {
	if q.limit == 0 || out.Frsize == 0 {
		return
	}
	bs := uint64(out.Frsize)
	total := q.limit / bs
	used := uint64(max(q.Bytes.Load(), 0)) / bs
	free := total - min(total, used)
	out.Blocks = min(out.Blocks, total)
	out.Bfree = min(out.Bfree, free)
	out.Bavail = min(out.Bavail, free)
}
