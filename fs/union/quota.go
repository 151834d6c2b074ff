package union

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// quota counts what the upper takes, and enforces size_limit: the sum of st_blocks over the inodes of the upper
// layer, a file with several names once. What a call allocates is added when
// it is done, and a call that may grow is refused beforehand, so the limit is
// overshot by file system overhead only.
type quota struct {
	on      bool // count; set before the first request
	limit   uint64
	used    atomic.Int64
	inodes  atomic.Int64
	changes atomic.Uint64 // how often anything was added
	recount recount
	files   [64]sync.Mutex // by descriptor: two writers of a file don't count the same blocks

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

func (r *reserve) room() syscall.Errno {
	if r.fd < 0 {
		return 0
	}
	now := time.Now().UnixNano()
	if now-r.checked.Load() > reserveAge {
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
	q.used.Add(bytes)
	q.inodes.Add(inodes)
}

// start counts what is there. The upper must not be huge for that to be quick;
// without a limit nothing is counted.
func (q *quota) start(fs *FS) error {
	q.limit = fs.o.SizeLimit
	q.reserve.fd = -1
	if fs.writeback() {
		q.reserve.fd = fs.layers[0].fd
	}
	if q.limit == 0 {
		return nil
	}
	u, e := countTree(fs.layers[0].fd, func() bool { return false })
	if e != 0 {
		return e
	}
	q.on = true
	q.change(u.Bytes, u.Inodes)
	return nil
}

// room says whether n more bytes may be allocated.
func (q *quota) room(n int64) syscall.Errno {
	if q.limit != 0 && q.used.Load()+n > int64(q.limit) {
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

// around runs fn, which may change the blocks of an object without its data:
// its xattrs may need one.
func (q *quota) around(dirfd int, name string, fn func()) {
	if !q.on {
		fn()
		return
	}
	var before, after sys.Stat
	e := sys.StatAt(dirfd, name, &before)
	fn()
	if e == 0 && sys.StatAt(dirfd, name, &after) == 0 && after.Blocks != before.Blocks {
		q.change((after.Blocks-before.Blocks)*512, 0)
	}
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

// removing counts an object off that is about to be unlinked.
func (q *quota) removing(dirfd int, name string) {
	if !q.on {
		return
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) == 0 && (st.Nlink == 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR) {
		q.change(-st.Blocks*512, -1)
	}
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
	used := uint64(max(q.used.Load(), 0)) / bs
	free := total - min(total, used)
	out.Blocks = min(out.Blocks, total)
	out.Bfree = min(out.Bfree, free)
	out.Bavail = min(out.Bavail, free)
}
