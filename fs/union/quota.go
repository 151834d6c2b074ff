package union

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// quota enforces size_limit: the sum of st_blocks over the inodes of the upper
// layer and of plyfs/index, a file with several names once. What a call
// allocates is added when it is done, and a call that may grow is refused
// beforehand, so the limit is overshot by file system overhead only; a
// directory that grows by its names is such, until the next mount counts it.
type quota struct {
	limit uint64
	used  atomic.Int64

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

func (q *quota) active() bool { return q.limit != 0 }

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
	c := counter{seen: map[uint64]bool{}}
	for _, dir := range [...]int{fs.layers[0].fd, fs.work.index} {
		if dir < 0 {
			continue
		}
		fd, e := sys.Open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e == 0 {
			c.sum += blocksOf(fd)
			fd, e = c.walk(fd)
		}
		if e != 0 {
			return fmt.Errorf("upperdir %s: can't count what size_limit limits: %w", fs.stack.Upper.Path, e)
		}
		sys.Close(fd)
	}
	if fs.work.index >= 0 {
		c.sum -= blocksOf(fs.work.index) // it is no part of the upper
	}
	q.used.Store(c.sum)
	return nil
}

// counter counts a tree at mount.
type counter struct {
	sum  int64
	seen map[uint64]bool // files with several names
}

// walk counts what is in an open directory, and gives the descriptor back: it is
// another one, since a tree may be deeper than there are descriptors.
func (c *counter) walk(fd int) (int, syscall.Errno) {
	names, e := listNames(fd)
	for _, n := range names {
		var st sys.Stat
		if sys.StatAt(fd, n, &st) != 0 {
			continue
		}
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if !isDir && st.Nlink > 1 {
			if c.seen[st.Ino] {
				continue
			}
			c.seen[st.Ino] = true
		}
		c.sum += st.Blocks * 512
		if !isDir {
			continue
		}
		sub, e := sys.Open(fd, n, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != 0 {
			continue
		}
		sys.Close(fd)
		if sub, e = c.walk(sub); e != 0 {
			return -1, e
		}
		fd, e = sys.Open(sub, "..", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		sys.Close(sub)
		if e != 0 {
			return -1, e
		}
	}
	if e != 0 {
		sys.Close(fd)
		return -1, e
	}
	return fd, 0
}

func (q *quota) stop() {}

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
	if q.limit == 0 {
		return fn()
	}
	if e := q.room(n); e != 0 {
		return e
	}
	before := blocksOf(fd)
	e := fn()
	q.used.Add(blocksOf(fd) - before)
	return e
}

// add counts an object that was just made.
func (q *quota) add(dirfd int, name string) {
	if q.limit == 0 {
		return
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) == 0 {
		q.used.Add(st.Blocks * 512)
	}
}

// removing counts an object off that is about to be unlinked.
func (q *quota) removing(dirfd int, name string) { q.used.Add(-q.last(dirfd, name)) }

// last is what goes with a name: nothing, when the object has others.
func (q *quota) last(dirfd int, name string) int64 {
	if q.limit == 0 {
		return 0
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) != 0 || (st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR) {
		return 0
	}
	return st.Blocks * 512
}

// around counts what fn, which sets an xattr of an object that is counted,
// adds to it.
func (q *quota) around(dirfd int, name string, fn func() syscall.Errno) syscall.Errno {
	if q.limit == 0 {
		return fn()
	}
	var before, after sys.Stat
	known := sys.StatAt(dirfd, name, &before) == 0
	e := fn()
	if known && sys.StatAt(dirfd, name, &after) == 0 {
		q.used.Add((after.Blocks - before.Blocks) * 512)
	}
	return e
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
