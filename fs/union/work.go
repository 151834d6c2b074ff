package union

import (
	"fmt"
	"strconv"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// workDir is what the mount keeps in workdir:
//
//	work/            temporaries, as the kernel names it: emptied at mount
//	work/incompat/   what a mount must not ignore (volatile)
//	plyfs/lock       held while mounted
//	plyfs/index/     upper files that lower hard links were copied up to
type workDir struct {
	tmp   int // work/
	own   int // plyfs/
	lock  int // plyfs/lock
	index int // plyfs/index, -1 when there is none yet

	mu       sync.Mutex
	whiteout bool // "#whiteout" is there, to be linked
	indexed  bool // there is something in plyfs/index
}

const whiteoutName = "#whiteout"

func (w *workDir) close() {
	for _, fd := range []*int{&w.index, &w.lock, &w.own, &w.tmp} {
		if *fd > 0 {
			sys.Close(*fd)
		}
		*fd = 0
	}
}

// upperCaps is what the upper file system can do, found out by trying.
type upperCaps struct {
	mknod    bool // char device 0:0
	whiteout bool // RENAME_WHITEOUT
	xattr    bool // the namespace's xattrs, on files and directories
	exchange bool // RENAME_EXCHANGE
}

// openWork prepares the work directory: one mount at a time, and leftovers of a
// killed one removed.
func (fs *FS) openWork() error {
	w := fs.stack.Work
	name := w.Path
	fs.work.index = -1
	if fs.o.Scratch {
		// Nobody else knows it, and it is deleted as a whole: what is made to
		// keep others out and to tidy up would only be deleted, too.
		return fs.openScratch()
	}
	var e syscall.Errno
	if fs.work.own, e = mkdirOpen(w.FD, "plyfs", 0o700); e != 0 {
		return fmt.Errorf("workdir %s: can't make plyfs/ in it: %w", name, e)
	}
	if fs.work.lock, e = sys.Open(fs.work.own, "lock", unix.O_RDWR|unix.O_CREAT, 0o600); e != 0 {
		return fmt.Errorf("workdir %s: can't open plyfs/lock: %w", name, e)
	}
	if err := unix.Flock(fs.work.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("workdir %s is in use by another plyfs mount: unmount that one, or give this mount a workdir and upperdir of its own", name)
	}
	// Where directories can't be locked, as on NFS, only the workdir is. fsck,
	// which may not be told the workdir, goes by this one.
	if unix.Flock(fs.stack.Upper.FD, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return fmt.Errorf("upperdir %s is in use by another plyfs mount: unmount that one, or give this mount an upperdir of its own", fs.stack.Upper.Path)
	}
	if fs.work.tmp, e = mkdirOpen(w.FD, "work", 0o700); e != 0 {
		return fmt.Errorf("workdir %s: can't make work/ in it: %w", name, e)
	}
	if fs.mem == nil && sys.Exists(fs.work.tmp, "incompat") {
		return fmt.Errorf("workdir %s was used by a volatile mount that did not end cleanly: its upperdir may be damaged; check it, then remove %s/work/incompat", name, name)
	}
	if e := fs.emptyOld(); e != 0 {
		return fmt.Errorf("workdir %s: can't remove what an earlier mount left in work/: %w", name, e)
	}
	if fd, e := sys.OpenDir(fs.work.own, "index"); e == 0 && !fs.live.on {
		fs.work.index, fs.work.indexed = fd, true
	}
	if err := fs.setUpOverride(); err != nil {
		return err
	}
	if fs.o.Fsync == layer.FsyncVolatile && !fs.o.NoMarker {
		if e := fs.markVolatile(); e != 0 {
			return fmt.Errorf("workdir %s: can't write the volatile marker: %w", name, e)
		}
	}
	return nil
}

// emptyOld is emptyWork for a mount that begins. One that goes on has things
// there.
func (fs *FS) emptyOld() syscall.Errno {
	if fs.mem != nil {
		fs.work.whiteout = sys.Exists(fs.work.tmp, whiteoutName)
		return 0
	}
	return fs.emptyWork()
}

func mkdirOpen(dirfd int, name string, mode uint32) (int, syscall.Errno) {
	if e := sys.Mkdir(dirfd, name, mode); e != 0 && e != unix.EEXIST {
		return -1, e
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e == unix.EACCES {
		// The kernel makes work/ with mode 0.
		if e = sys.Chmod(dirfd, name, mode); e == 0 {
			fd, e = sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
	}
	return fd, e
}

// markVolatile leaves the kernel's marker: no mount accepts this upper again
// until it was looked at. A clean unmount removes it.
func (fs *FS) markVolatile() syscall.Errno {
	for _, p := range []string{"incompat", "incompat/volatile"} {
		if e := syscall.Errno(errnoOf(unix.Mkdirat(fs.work.tmp, p, 0o700))); e != 0 && e != unix.EEXIST {
			return e
		}
	}
	fd, err := unix.Openat(fs.work.tmp, "incompat/volatile/dirty", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return errnoOf(err)
	}
	sys.Close(fd)
	return 0
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}

// closeWork leaves the work directory as an unmount of overlayfs does: empty.
// A volatile mount is synced as a whole before its marker goes.
func (fs *FS) closeWork() error {
	if fs.work.tmp <= 0 {
		return nil
	}
	fs.quota.stop()
	if fs.o.Scratch {
		return nil
	}
	fs.linkOut()
	if fs.o.Fsync == layer.FsyncVolatile && !fs.o.NoMarker {
		if err := unix.Syncfs(fs.layers[0].fd); err != nil {
			return fmt.Errorf("upperdir %s: not all data could be written: %w; the volatile marker stays", fs.stack.Upper.Path, err)
		}
	}
	if e := fs.emptyWork(); e != 0 && e != unix.ENOENT { // it may have been deleted under a mount in use
		return fmt.Errorf("workdir %s: can't empty work/: %w", fs.stack.Work.Path, e)
	}
	return nil
}

// openScratch has the work directory itself in work/'s place.
func (fs *FS) openScratch() error {
	fd, err := unix.FcntlInt(uintptr(fs.stack.Work.FD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("workdir %s: %w", fs.stack.Work.Path, err)
	}
	fs.work.tmp = fd
	// One that was killed may have been here, and a copy is taken from its upper.
	if e := fs.emptyWork(); e != 0 {
		return fmt.Errorf("workdir %s: can't remove what an earlier mount left in it: %w", fs.stack.Work.Path, e)
	}
	if err := fs.setUpOverride(); err != nil {
		return err
	}
	return fs.quota.start(fs)
}

// ownDir is plyfs/. Precondition: w.mu is held.
func (w *workDir) ownDir() (int, syscall.Errno) {
	if w.own <= 0 { // scratch has none until it is needed
		fd, e := mkdirOpen(w.tmp, "plyfs", 0o700)
		if e != 0 {
			return -1, e
		}
		w.own = fd
	}
	return w.own, 0
}

// can says what the upper file system can do. It is tried when it counts for the
// first time: most mounts end without.
func (fs *FS) can() *upperCaps {
	if c := fs.caps.Load(); c != nil {
		return c
	}
	fs.probing.Lock()
	defer fs.probing.Unlock()
	if c := fs.caps.Load(); c != nil {
		return c
	}
	c, sure := fs.probe()
	if sure {
		fs.caps.Store(c)
	}
	return c
}

// probe finds out what the upper file system can do. It isn't sure when one that
// is full, or that fails, has refused something.
func (fs *FS) probe() (c *upperCaps, sure bool) {
	const a, b = "#probe1", "#probe2"
	tmp := fs.work.tmp
	c, sure = new(upperCaps), true
	try := func(e syscall.Errno) bool {
		switch e {
		case unix.ENOSPC, unix.EDQUOT, unix.ENOMEM, unix.EIO, unix.EINTR, unix.EROFS:
			sure = false
		}
		return e == 0
	}
	// On work/ itself, as the kernel's overlayfs does it: making a directory
	// takes longer than all the rest.
	if try(sys.SetXattr(tmp, "", fs.ns.Opaque(), []byte("0"), 0)) {
		c.xattr = true
		_ = sys.RemoveXattr(tmp, "", fs.ns.Opaque())
	}
	c.mknod = try(sys.Mknod(tmp, a, unix.S_IFCHR, 0))
	if !c.mknod && !try(sys.Mknod(tmp, a, unix.S_IFREG|0o600, 0)) {
		return c, sure
	}
	if try(sys.Mknod(tmp, b, unix.S_IFREG|0o600, 0)) {
		c.exchange = try(sys.Rename(tmp, a, tmp, b, unix.RENAME_EXCHANGE))
	}
	c.whiteout = c.mknod && try(sys.Rename(tmp, a, tmp, b, unix.RENAME_WHITEOUT))
	_ = sys.Unlink(tmp, a)
	_ = sys.Unlink(tmp, b)
	return c, sure
}

// setUpOverride marks the upper as one that keeps owners as data, when asked;
// an upper that is marked already stays so.
func (fs *FS) setUpOverride() error {
	u := &fs.layers[0]
	if fs.o.XattrPerm == layer.XattrPermNone || u.override != layer.XattrPermNone {
		return nil
	}
	name := dialect.OverrideUser
	if fs.o.XattrPerm == layer.XattrPermPrivileged {
		name = dialect.OverridePrivileged
	}
	var st sys.Stat
	if e := sys.StatFD(u.fd, &st); e != 0 {
		return fmt.Errorf("upperdir %s: %w", fs.stack.Upper.Path, e)
	}
	v := dialect.Override{Mode: st.Mode, HasType: true}.Append(nil)
	if e := sys.SetXattr(u.fd, "", name, v, 0); e != 0 {
		return fmt.Errorf("upperdir %s: can't set %s (%w): this file system can't keep owners as data, mount without xattr_permissions", fs.stack.Upper.Path, name, e)
	}
	u.override, u.ovName = fs.o.XattrPerm, name
	return nil
}

// tmpName is a fresh name in work/.
func (fs *FS) tmpName() string { return "#t" + strconv.FormatUint(fs.seq.Add(1), 16) }

// orphan makes a temporary the object of a node without a name.
func (fs *FS) orphan(tmp string, id node.ID) syscall.Errno {
	fs.quota.begin()
	defer fs.quota.end()
	e := sys.Rename(fs.work.tmp, tmp, fs.work.tmp, orphanName(id), 0)
	if e == 0 {
		fs.quota.add(fs.work.tmp, orphanName(id))
	}
	return e
}

// removeOrphan deletes an object that was kept for a node that is gone.
func (fs *FS) removeOrphan(id node.ID) {
	if fs.work.tmp > 0 {
		_ = fs.quota.removing(fs.work.tmp, orphanName(id), func() syscall.Errno { return fs.discard(orphanName(id)) })
	}
}

// discard removes what has a name in work/, whatever it is. What was counted is
// to be counted off by the caller: a temporary wasn't yet.
func (fs *FS) discard(name string) syscall.Errno {
	e := sys.Unlink(fs.work.tmp, name)
	if e == unix.EISDIR || e == unix.EPERM {
		e = fs.removeTree(fs.work.tmp, name, 0)
	}
	return e
}

// emptyWork removes all temporaries (and with them, at a clean unmount, the
// volatile marker).
func (fs *FS) emptyWork() syscall.Errno {
	return fs.emptyDir(fs.work.tmp)
}

// emptyDir removes all that is in an open directory, never across a mount
// point.
func (fs *FS) emptyDir(fd int) syscall.Errno {
	names, e := listNames(fd)
	if e != 0 {
		return e
	}
	for _, n := range names {
		e := fs.removeAny(fd, n, 0)
		if e != 0 && e != unix.ENOENT {
			return e
		}
	}
	return 0
}

// removeTree removes a directory with all that is in it. It goes down by
// descriptors and stops at mount points (rmdir answers EBUSY there).
func (fs *FS) removeTree(dirfd int, name string, depth int) syscall.Errno {
	e := sys.Rmdir(dirfd, name)
	if e != unix.ENOTEMPTY && e != unix.EEXIST {
		return e
	}
	if depth > 4096 {
		return unix.ELOOP
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e == unix.EACCES {
		if e = sys.Chmod(dirfd, name, 0o700); e == 0 {
			fd, e = sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
	}
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	if a, b := sys.MountID(dirfd, ""), sys.MountID(fd, ""); a != b {
		return unix.EBUSY
	}
	names, e := listNames(fd)
	if e != 0 {
		return e
	}
	for _, n := range names {
		e := fs.removeAny(fd, n, depth+1)
		if e != 0 && e != unix.ENOENT {
			return e
		}
	}
	return sys.Rmdir(dirfd, name)
}

// removeAny removes an object in a directory of the upper layer that is going.
func (fs *FS) removeAny(dirfd int, name string, depth int) syscall.Errno {
	return fs.quota.removing(dirfd, name, func() syscall.Errno {
		e := sys.Unlink(dirfd, name)
		if e == unix.EISDIR || e == unix.EPERM {
			e = fs.removeTree(dirfd, name, depth)
		}
		return e
	})
}

// listNames reads the names in an open directory.
func listNames(fd int) (names []string, e syscall.Errno) {
	if e := sys.Rewind(fd); e != 0 {
		return nil, e
	}
	e = sys.ReadDir(fd, make([]byte, 32<<10), func(name string, _ uint64, _ uint8) bool {
		names = append(names, string([]byte(name)))
		return true
	})
	return names, e
}
