package union

import (
	"sync/atomic"
	"syscall"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// quota enforces size_limit: the sum of st_blocks over the inodes of the upper
// layer, a file with several names once. What a call allocates is added when
// it is done, and a call that may grow is refused beforehand, so the limit is
// overshot by file system overhead only.
type quota struct {
	limit uint64
	used  atomic.Int64
}

func (q *quota) active() bool { return q.limit != 0 }

// start counts what is there. The upper must not be huge for that to be quick;
// without a limit nothing is counted.
func (q *quota) start(fs *FS) error {
	q.limit = fs.o.SizeLimit
	if q.limit == 0 {
		return nil
	}
	seen := map[uint64]bool{}
	var walk func(fd int, depth int)
	walk = func(fd, depth int) {
		names, _ := listNames(fd)
		for _, n := range names {
			var st sys.Stat
			if sys.StatAt(fd, n, &st) != 0 {
				continue
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
				if seen[st.Ino] {
					continue
				}
				seen[st.Ino] = true
			}
			q.used.Add(st.Blocks * 512)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR && depth < 10000 {
				if sub, e := sys.Open(fd, n, unix.O_RDONLY|unix.O_DIRECTORY, 0); e == 0 {
					walk(sub, depth+1)
					sys.Close(sub)
				}
			}
		}
	}
	fd, e := sys.Open(fs.layers[0].fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	walk(fd, 0)
	sys.Close(fd)
	return nil
}

func (q *quota) stop() {}

// room says whether n more bytes may be allocated.
func (q *quota) room(n int64) syscall.Errno {
	if q.limit != 0 && q.used.Load()+n > int64(q.limit) {
		return unix.ENOSPC
	}
	return 0
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
func (q *quota) removing(dirfd int, name string) {
	if q.limit == 0 {
		return
	}
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) == 0 && (st.Nlink == 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR) {
		q.used.Add(-st.Blocks * 512)
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
