package union

import (
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// Usage is what the upper layer takes: the sum of st_blocks and the number of
// inodes, its root included and a file with several names once.
type Usage struct {
	Bytes, Inodes int64
}

// recount is the count of an upper that was not empty at the start.
type recount struct {
	running sync.WaitGroup
	ended   atomic.Bool // asked to end
	known   atomic.Bool
}

// recounts is how often a count is begun anew because something changed
// meanwhile. After that what changed during the last one may be off.
const recounts = 3

// CountUsage has the union keep count of what the upper layer takes. It is
// called once, before the first request; an upper that has something in it is
// counted in the background.
//
// A directory is counted with the blocks that it had when it was made.
func (fs *FS) CountUsage() {
	q := &fs.quota
	switch {
	case fs.ro:
		return
	case q.on: // counted already, for the limit
		q.recount.known.Store(true)
		return
	}
	q.on = true
	fd, e := sys.Open(fs.layers[0].fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return
	}
	names, e := listNames(fd)
	sys.Close(fd)
	if e == 0 && len(names) == 0 {
		q.recount.known.Store(true)
		return
	}
	q.recount.running.Add(1)
	go fs.countAnew()
}

// countAnew counts while others work. What they change is counted as it
// happens; a count during which nothing did is exact.
func (fs *FS) countAnew() {
	q := &fs.quota
	defer q.recount.running.Done()
	for try := 1; ; try++ {
		changes, used, inodes := q.changes.Load(), q.used.Load(), q.inodes.Load()
		u, e := countTree(fs.layers[0].fd, q.recount.ended.Load)
		if e != 0 {
			return
		}
		if q.changes.Load() == changes || try == recounts {
			q.used.Add(u.Bytes - used)
			q.inodes.Add(u.Inodes - inodes)
			q.recount.known.Store(true)
			return
		}
	}
}

// stop ends a count that is under way.
func (q *quota) stop() {
	q.recount.ended.Store(true)
	q.recount.running.Wait()
}

// Usage is what the upper layer takes; ok is false as long as it isn't known.
func (fs *FS) Usage() (u Usage, ok bool) {
	q := &fs.quota
	var st sys.Stat
	if !q.recount.known.Load() || sys.StatFD(fs.layers[0].fd, &st) != 0 {
		return u, false
	}
	return Usage{
		Bytes:  max(q.used.Load(), 0) + st.Blocks*512,
		Inodes: max(q.inodes.Load(), 0) + 1 + fs.sharedWhiteout(),
	}, true
}

// CopiedUp is how many bytes of data were copied from lower layers to the upper
// one; what the file system shared by reflink is in it.
func (fs *FS) CopiedUp() int64 { return fs.copied.Load() }

// sharedWhiteout is 1 when names of the upper layer are links to the shared
// whiteout of the work directory: one inode, and no blocks. It isn't counted as
// those names come and go.
func (fs *FS) sharedWhiteout() int64 {
	var st sys.Stat
	if fs.caps.mknod && sys.StatAt(fs.work.tmp, whiteoutName, &st) == 0 && st.Nlink > 1 {
		return 1
	}
	return 0
}

// countTree adds up everything below a directory. ended is asked now and then;
// when it says so the count ends with EINTR.
func countTree(root int, ended func() bool) (u Usage, e syscall.Errno) {
	seen := map[uint64]bool{}
	var walk func(fd, depth int) syscall.Errno
	walk = func(fd, depth int) syscall.Errno {
		if ended() {
			return unix.EINTR
		}
		names, _ := listNames(fd)
		for _, n := range names {
			var st sys.Stat
			if sys.StatAt(fd, n, &st) != 0 {
				continue // removed meanwhile
			}
			isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
			if !isDir && st.Nlink > 1 {
				if seen[st.Ino] {
					continue
				}
				seen[st.Ino] = true
			}
			u.Bytes += st.Blocks * 512
			u.Inodes++
			if !isDir || depth >= 10000 {
				continue
			}
			if sub, e := sys.Open(fd, n, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); e == 0 {
				e = walk(sub, depth+1)
				sys.Close(sub)
				if e != 0 {
					return e
				}
			}
		}
		return 0
	}
	fd, e := sys.Open(root, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return u, e
	}
	defer sys.Close(fd)
	return u, walk(fd, 0)
}
