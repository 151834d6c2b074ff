package union

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// Usage is what the upper layer takes: the sum of st_blocks and the number of
// inodes, its root included and a file with several names once. What was removed
// and is still open is in it, and what only plyfs/index has a name of.
type Usage struct {
	Bytes, Inodes int64
}

// Counters are where a union counts: the two of Usage, and whether they are
// right yet. They may be in memory that another process reads.
type Counters struct{ Bytes, Inodes, Known *atomic.Int64 }

// recount is the count of an upper that was not empty at the start.
type recount struct {
	running sync.WaitGroup
	ended   atomic.Bool // asked to end
}

// A count is begun anew when something changed meanwhile, recounts times at least
// and for recountFor. After that what changed during the last one may be off.
const (
	recounts   = 3
	recountFor = 10 * time.Second
)

// CountUsage has the union keep count of what the upper layer takes. It is
// called once, before the first request; an upper that has something in it is
// counted in the background. The count is kept in c, unless that is zero.
func (fs *FS) CountUsage(c Counters) {
	q := &fs.quota
	if fs.ro {
		return
	}
	if c.Bytes != nil {
		c.Bytes.Store(q.Bytes.Load())
		c.Inodes.Store(q.Inodes.Load())
		q.Counters = c
	}
	if q.on { // counted already, for the limit
		q.Known.Store(1)
		return
	}
	q.on = true
	fd, e := sys.Open(fs.layers[0].fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return
	}
	names, e := listNames(fd)
	root := blocksOf(fd)
	sys.Close(fd)
	if e == 0 && len(names) == 0 && !fs.work.indexed {
		q.change(root, 1)
		q.Known.Store(1)
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
	begun := time.Now()
	for try := 1; ; try++ {
		last := try >= recounts && time.Since(begun) > recountFor
		changes := q.changes.Load()
		quiet := q.busy.Load() == 0
		used, inodes := q.Bytes.Load(), q.Inodes.Load()
		u, e := fs.countUpper(q.recount.ended.Load)
		if e != 0 && e != unix.EAGAIN {
			return
		}
		if e == 0 && (last || quiet && q.changes.Load() == changes) {
			q.Bytes.Add(u.Bytes - used)
			q.Inodes.Add(u.Inodes - inodes)
			q.Known.Store(1)
			return
		}
		if e != 0 && last {
			return
		}
		time.Sleep(min(time.Duration(try)*time.Millisecond, 50*time.Millisecond))
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
	if q.Counters.Known == nil || q.Known.Load() == 0 {
		return u, false
	}
	return Usage{Bytes: max(q.Bytes.Load(), 0), Inodes: max(q.Inodes.Load(), 0)}, true
}

// CopiedUp is how many bytes of data were copied from lower layers to the upper
// one; what the file system shared by reflink is in it.
func (fs *FS) CopiedUp() int64 { return fs.tally.CopiedUp.Load() }

// Tally is what a union counts of its own doing. It may be in memory that other
// processes read, and that a union before this one has counted in.
type Tally struct {
	CopyUps  atomic.Int64 // files and directories that were copied to the upper layer
	CopiedUp atomic.Int64 // bytes of that
}

// TallyIn has the union count in t from now on. It is called before the first
// request.
func (fs *FS) TallyIn(t *Tally) { fs.tally = t }

// countUpper adds up what quota counts. ended is asked now and then; when it
// says so the count ends with EINTR. EAGAIN: a directory was moved meanwhile.
func (fs *FS) countUpper(ended func() bool) (Usage, syscall.Errno) {
	c := counter{ended: ended, seen: map[uint64]bool{}}
	c.Bytes, c.Inodes = blocksOf(fs.layers[0].fd), 1
	fs.work.mu.Lock()
	indexFD, indexed := fs.work.index, fs.work.indexed
	fs.work.mu.Unlock()
	if e := c.tree(fs.layers[0].fd); e != 0 {
		return Usage{}, e
	}
	if indexed {
		if e := c.tree(indexFD); e != 0 {
			return Usage{}, e
		}
	}
	if e := c.orphans(fs.work.tmp); e != 0 {
		return Usage{}, e
	}
	return c.Usage, 0
}

// counter is a count of what there is.
type counter struct {
	Usage
	ended func() bool
	seen  map[uint64]bool // files with several names
}

// object counts one; isDir is false for what is gone meanwhile.
func (c *counter) object(dirfd int, name string) (isDir bool) {
	var st sys.Stat
	if sys.StatAt(dirfd, name, &st) != 0 {
		return false
	}
	isDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Nlink > 1 {
		if c.seen[st.Ino] {
			return false
		}
		c.seen[st.Ino] = true
	}
	c.Bytes += st.Blocks * 512
	c.Inodes++
	return isDir
}

// tree counts what is below a directory.
func (c *counter) tree(dirfd int) syscall.Errno {
	fd, e := sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	if fd, e = c.walk(fd); e == 0 {
		sys.Close(fd)
	}
	return e
}

// walk counts what is in an open directory, and gives the descriptor back: it is
// another one, since a tree may be deeper than there are descriptors. After an
// error it is closed.
func (c *counter) walk(fd int) (int, syscall.Errno) {
	var here, back sys.Stat
	names, e := listNames(fd)
	if e == 0 {
		e = sys.StatFD(fd, &here)
	}
	if e == 0 && c.ended() {
		e = unix.EINTR
	}
	if e != 0 {
		sys.Close(fd)
		return -1, e
	}
	for _, n := range names {
		if !c.object(fd, n) {
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
		if sys.StatFD(fd, &back) != 0 || back.Ino != here.Ino || back.Dev != here.Dev {
			sys.Close(fd)
			return -1, unix.EAGAIN
		}
	}
	return fd, 0
}

// orphans counts what work/ keeps for nodes that have no name.
func (c *counter) orphans(work int) syscall.Errno {
	fd, e := sys.Open(work, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	names, e := listNames(fd)
	for _, n := range names {
		if strings.HasPrefix(n, orphanPrefix) {
			c.object(fd, n)
		}
	}
	return e
}
