package fusefs

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

func TestLookup(t *testing.T) {
	b := newTB(t, nil)
	e := at[fuse.EntryOut](b.must(opLookup, 1, "file"))
	if e.NodeId != 2 || e.Ino != 102 || e.Size != 13 || e.Mode != syscall.S_IFREG|0o644 || e.Mtime != 1000 || e.Mtimensec != 5 {
		t.Errorf("entry: %+v", e)
	}
	if e.EntryValid != forever || e.AttrValid != forever {
		t.Errorf("timeouts %d, %d: want for ever", e.EntryValid, e.AttrValid)
	}
	// A name that isn't there is node 0, for ever too.
	e = at[fuse.EntryOut](b.must(opLookup, 1, "absent"))
	if e.NodeId != 0 || e.EntryValid != forever {
		t.Errorf("negative entry: %+v", e)
	}
	if _, errno := b.do(opLookup, 999, "file"); errno != syscall.ESTALE {
		t.Errorf("unknown parent: %v", errno)
	}
}

func TestTimeouts(t *testing.T) {
	zero := layer.Options{Timeout: new(time.Duration)}
	b := newTB(t, &zero)
	if _, e := b.do(opLookup, 1, "absent"); e != syscall.ENOENT {
		t.Errorf("with timeout=0 an absent name must not be cached: %v", e)
	}
	b = newTB(t, &layer.Options{Live: true})
	if a := at[fuse.AttrOut](b.must(opGetattr, 2, body(fuse.GetAttrIn{}))); a.AttrValid != 1 {
		t.Errorf("live: attributes valid for %d s, want 1", a.AttrValid)
	}
}

func TestForget(t *testing.T) {
	b := newTB(t, nil)
	if n := b.w.handle(message(opForget, 2, uint64(3))); n != 0 {
		t.Error("FORGET got a reply")
	}
	one := forgetOne{node: 2, nlookup: 4}
	if n := b.w.handle(message(opBatchForget, 0, uint32(2), uint32(0), one.node, one.nlookup, one.node, one.nlookup)); n != 0 {
		t.Error("BATCH_FORGET got a reply")
	}
	// It says three and has one: that one counts.
	b.w.handle(message(opBatchForget, 0, uint32(3), uint32(0), one.node, one.nlookup))
	if b.tree.forgets != 3+4+4+4 {
		t.Errorf("forgot %d, want 15", b.tree.forgets)
	}
}

func TestSetattr(t *testing.T) {
	b := newTB(t, nil)
	in := fuse.SetAttrIn{}
	in.Valid = fuse.FATTR_MODE | fuse.FATTR_SIZE | fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW | fuse.FATTR_CTIME |
		fuse.FATTR_KILL_SUIDGID | fuse.FATTR_FH | fuse.FATTR_LOCKOWNER
	in.Mode, in.Size, in.Mtime, in.Mtimensec = syscall.S_IFREG|0o4600, 5, 77, 8
	a := at[fuse.AttrOut](b.must(opSetattr, 2, body(in)))
	want := uint32(union.SetMode | union.SetSize | union.SetMtime | union.SetMtimeNow | union.SetCtime | union.KillSuidgid)
	if ch := b.tree.change; ch.Valid != want || ch.Mode != 0o4600 || ch.Size != 5 || ch.Mtime != (union.Time{Sec: 77, Nsec: 8}) {
		t.Errorf("change %+v, want valid %#x", ch, want)
	}
	if c := b.tree.caller; c.UID != 1000 || c.GID != 1001 || c.PID != 1002 {
		t.Errorf("caller %+v", c)
	}
	if a.Size != 5 || a.Mode != syscall.S_IFREG|0o4600 {
		t.Errorf("attr %+v", a)
	}
	b.must(opSetattr, 2, body(fuse.SetAttrIn{}))
	if b.tree.change.Valid != 0 {
		t.Errorf("SETATTR of nothing became %#x", b.tree.change.Valid)
	}
}

func TestCreate(t *testing.T) {
	b := newTB(t, nil)
	in := fuse.CreateIn{Mode: syscall.S_IFREG | 0o666, Umask: 0o27}
	o := at[fuse.CreateOut](b.must(opCreate, 1, body(in), "new"))
	if o.NodeId == 0 || o.Fh != 0 || o.OpenFlags != fuse.FOPEN_KEEP_CACHE {
		t.Errorf("created: %+v", o)
	}
	if b.tree.caller.Umask != 0o27 || o.Mode != syscall.S_IFREG|0o640 {
		t.Errorf("umask %o, mode %o", b.tree.caller.Umask, o.Mode)
	}
	if _, e := b.do(opCreate, 1, body(in), "new"); e != syscall.EEXIST {
		t.Errorf("again: %v", e)
	}
	if o := at[fuse.CreateOut](b.must(opTmpfile, 1, body(in), "/")); o.Nlink != 0 || o.NodeId == 0 || o.OpenFlags != fuse.FOPEN_KEEP_CACHE {
		t.Errorf("tmpfile: %+v", o)
	}
}

func TestNames(t *testing.T) {
	b := newTB(t, nil)
	if e := at[fuse.EntryOut](b.must(opMkdir, 1, body(fuse.MkdirIn{Mode: 0o777, Umask: 0o22}), "d")); e.Mode != syscall.S_IFDIR|0o755 {
		t.Errorf("mkdir: mode %o", e.Mode)
	}
	if e := at[fuse.EntryOut](b.must(opMknod, 1, body(fuse.MknodIn{Mode: syscall.S_IFCHR | 0o600, Rdev: 0x103}), "null")); e.Rdev != 0x103 {
		t.Errorf("mknod: rdev %#x", e.Rdev)
	}
	if e := at[fuse.EntryOut](b.must(opSymlink, 1, "sl", "/some/where")); e.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		t.Errorf("symlink: mode %o", e.Mode)
	}
	if got := b.must(opReadlink, b.id("sl")); string(got) != "/some/where" {
		t.Errorf("readlink %q", got)
	}
	if e := at[fuse.EntryOut](b.must(opLink, 1, uint64(2), "hard")); e.NodeId != 2 || e.Nlink != 2 {
		t.Errorf("link: %+v", e)
	}
	d := b.id("d")
	b.must(opRename, 1, d, "hard", "moved")
	b.must(opRename2, d, body(fuse.RenameIn{Newdir: 1, Flags: unix.RENAME_NOREPLACE}), "moved", "back")
	if b.tree.renamed != unix.RENAME_NOREPLACE || b.id("back") != 2 {
		t.Errorf("rename: flags %d", b.tree.renamed)
	}
	b.must(opUnlink, 1, "back")
	b.must(opRmdir, 1, "d")
	if _, e := b.do(opRmdir, 1, "d"); e != syscall.ENOENT {
		t.Errorf("rmdir again: %v", e)
	}
}

func TestData(t *testing.T) {
	b := newTB(t, nil)
	if got := b.must(opRead, 2, readIn(100, 7)); string(got) != "world\n" {
		t.Errorf("read %q", got)
	}
	if _, e := b.do(opRead, 2, readIn(1<<31, 0)); e != syscall.EINVAL {
		t.Errorf("huge read: %v", e)
	}
	in := fuse.WriteIn{Size: 3, Offset: 7, WriteFlags: fuse.WRITE_KILL_SUIDGID}
	if o := at[fuse.WriteOut](b.must(opWrite, 2, body(in), []byte("abc"))); o.Size != 3 || !b.tree.killed {
		t.Errorf("wrote %d, kill %v", o.Size, b.tree.killed)
	}
	if got := b.must(opRead, 2, readIn(100, 0)); string(got) != "hello, abcld\n" {
		t.Errorf("read %q", got)
	}
	in.Size = 4
	if _, e := b.do(opWrite, 2, body(in), []byte("abc")); e != syscall.EINVAL {
		t.Errorf("write of more than there is: %v", e)
	}
	b.must(opFallocate, 2, body(fuse.FallocateIn{Offset: 0, Length: 100}))
	if _, e := b.do(opFallocate, 2, body(fuse.FallocateIn{Offset: 1 << 62, Length: 1 << 62})); e != syscall.EINVAL {
		t.Errorf("fallocate beyond everything: %v", e)
	}
	o := at[fuse.WriteOut](b.must(opCopyFileRange, 2, body(fuse.CopyFileRangeIn{NodeIdOut: 5, Len: 10})))
	if o.Size != 100 && o.Size != 10 {
		t.Errorf("copied %d", o.Size)
	}
	b.must(opFsync, 2, body(fuse.FsyncIn{FsyncFlags: fuse.FSYNC_FDATASYNC}))
	if !b.tree.datasync {
		t.Error("fdatasync became fsync")
	}
	b.must(opFsyncdir, 1, body(fuse.FsyncIn{}))
	if s := at[fuse.StatfsOut](b.must(opStatfs, 1)); s.Blocks != 1000 || s.NameLen != 255 || s.Bavail != 400 {
		t.Errorf("statfs %+v", s)
	}
}

func TestXattr(t *testing.T) {
	b := newTB(t, nil)
	size := func(n uint32) []byte { return body(fuse.GetXAttrIn{Size: n}) }
	if o := at[fuse.GetXAttrOut](b.must(opGetxattr, 2, size(0), "user.key")); o.Size != 5 {
		t.Errorf("size %d", o.Size)
	}
	if got := b.must(opGetxattr, 2, size(65536), "user.key"); string(got) != "value" {
		t.Errorf("value %q", got)
	}
	if _, e := b.do(opGetxattr, 2, size(3), "user.key"); e != syscall.ERANGE {
		t.Errorf("too small: %v", e)
	}
	if _, e := b.do(opGetxattr, 2, size(100), "security.capability"); e != syscall.ENODATA {
		t.Errorf("absent: %v", e)
	}
	set := fuse.SetXAttrIn{Size: 3}
	b.must(opSetxattr, 2, body(set), "user.k2", []byte("abc"))
	if got := b.must(opGetxattr, 2, size(64), "user.k2"); string(got) != "abc" {
		t.Errorf("set value %q", got)
	}
	if _, e := b.do(opSetxattr, 2, body(set), "user.k2", []byte("ab")); e != syscall.EINVAL {
		t.Errorf("value cut short: %v", e)
	}
	b.must(opRemovexattr, 2, "user.k2")
	if got := b.must(opListxattr, 2, size(100)); string(got) != "user.key\x00" {
		t.Errorf("list %q", got)
	}
	if o := at[fuse.GetXAttrOut](b.must(opListxattr, 2, size(0))); o.Size != 9 {
		t.Errorf("list size %d", o.Size)
	}
	if _, e := b.do(opListxattr, 2, size(2)); e != syscall.ERANGE {
		t.Errorf("list too small: %v", e)
	}
}

// TestSetxattrShort: kernels before 5.13 have a shorter struct.
func TestSetxattrShort(t *testing.T) {
	b := newTB(t, nil)
	b.w.handle(initMessage(kernelFlags &^ fuse.CAP_SETXATTR_EXT))
	b.must(opSetxattr, 2, uint32(3), uint32(0), "user.k2", []byte("abc"))
	if b.tree.nodes[2].xattr["user.k2"] != "abc" {
		t.Errorf("xattrs: %v", b.tree.nodes[2].xattr)
	}
}

func TestIoctl(t *testing.T) {
	b := newTB(t, nil)
	for _, cmd := range []uint32{setFlags64, setFlags32} {
		b.must(opIoctl, 2, body(fuse.IoctlIn{Cmd: cmd, InSize: 4}), uint32(0x80))
	}
	for cmd, size := range map[uint32]uint32{getFlags64: 8, getFlags32: 4} {
		p := b.must(opIoctl, 2, body(fuse.IoctlIn{Cmd: cmd, OutSize: size}))
		if len(p) != 16+int(size) || *at[uint32](p[16:]) != 0x80 {
			t.Errorf("cmd %#x: %x", cmd, p)
		}
	}
	p := b.must(opIoctl, 2, body(fuse.IoctlIn{Cmd: getLongFlags, OutSize: 28}))
	if len(p) != 16+28 || *at[uint32](p[16:]) != 0x40 || *at[uint32](p[28:]) != 0 {
		t.Errorf("the long form: %x", p)
	}
	for _, flags := range []uint32{0x10, 0x20} {
		if _, e := b.do(opIoctl, 2, body(fuse.IoctlIn{Cmd: setFlags64, InSize: 4}), flags); e != syscall.EOPNOTSUPP {
			t.Errorf("flags %#x with the write-back cache: %v", flags, e)
		}
		through := newTB(t, &layer.Options{NoWriteback: true})
		through.must(opIoctl, 2, body(fuse.IoctlIn{Cmd: setFlags64, InSize: 4}), flags)
	}
	for _, cmd := range []uint32{0x401c5820, 0x5401} {
		if _, e := b.do(opIoctl, 2, body(fuse.IoctlIn{Cmd: cmd, OutSize: 28})); e != syscall.ENOTTY {
			t.Errorf("cmd %#x: %v", cmd, e)
		}
	}
	if _, e := b.do(opIoctl, 2, body(fuse.IoctlIn{Cmd: setFlags64, InSize: 4})); e != syscall.EINVAL {
		t.Errorf("no argument: %v", e)
	}
}

func TestStatx(t *testing.T) {
	b := newTB(t, nil)
	b.tree.nodes[2].attr.Rdev = 0x12345678
	o := at[fuse.StatxOut](b.must(opStatx, 2, body(fuse.StatxIn{})))
	if o.Mask != unix.STATX_BASIC_STATS|unix.STATX_BTIME || o.Btime.Sec != 999 || o.Btime.Nsec != 9 || o.Ino != 102 {
		t.Errorf("statx %+v", o)
	}
	if o.RdevMajor != 0x456 || o.RdevMinor != 0x12378 {
		t.Errorf("device %#x:%#x", o.RdevMajor, o.RdevMinor)
	}
}

// TestAnswers: what is answered without the tree.
func TestAnswers(t *testing.T) {
	b := newTB(t, nil)
	for _, op := range []uint32{opOpen, opOpendir, opFlush, opAccess, opLseek, opPoll, opBmap, opCopyRange64} {
		if _, e := b.do(op, 2, make([]byte, 64)); e != syscall.ENOSYS {
			t.Errorf("%s: %v, want ENOSYS", ops[op].name, e)
		}
	}
	for _, op := range []uint32{opRelease, opReleasedir, opDestroy} {
		b.must(op, 2, make([]byte, 24))
	}
	for _, op := range []uint32{opInterrupt, opNotifyReply} {
		if n := b.w.handle(message(op, 2, make([]byte, 64))); n != 0 {
			t.Errorf("%s got a reply", ops[op].name)
		}
	}
	b = newTB(t, &layer.Options{NoWriteback: true})
	if o := at[fuse.LseekOut](b.must(opLseek, 2, body(fuse.LseekIn{Offset: 10, Whence: 3}))); o.Offset != 13 {
		t.Errorf("lseek %d", o.Offset)
	}
	b = newTB(t, &layer.Options{Fsync: layer.FsyncVolatile})
	for _, op := range []uint32{opFsync, opFsyncdir} {
		if _, e := b.do(op, 2, body(fuse.FsyncIn{})); e != syscall.ENOSYS {
			t.Errorf("volatile %s: %v", ops[op].name, e)
		}
	}
}

func TestTrace(t *testing.T) {
	b := newTB(t, nil)
	var out bytes.Buffer
	b.s.trace = &tracer{w: &out}
	b.w.handle(message(opLookup, 1, "file"))
	b.w.handle(message(opLookup, 1, "absent"))
	b.w.handle(message(opUnlink, 1, "a\nb"))
	b.w.handle(message(opRead, 2, readIn(100, 7)))
	b.w.handle(message(opForget, 2, uint64(1)))
	b.w.handle(message(77, 2))
	b.w.handle(message(opGetattr, 2))
	for op := range uint32(opCount) { // no arguments at all, and many
		b.w.handle(message(op, 2))
		if op != opInit {
			b.do(op, 2, make([]byte, 200))
		}
	}
	b.w.handle(initMessage(kernelFlags))
	for _, want := range []string{
		`LOOKUP n1 / "file" = n2 128 bytes (`,
		`LOOKUP n1 / "absent" = absent (`,
		`UNLINK n1 / "a\nb" = ENOENT (`,
		`READ n2 /file size=100 off=7 = 6 bytes (`,
		`FORGET n2 /file n=1 = no reply (`,
		`UNKNOWN 77 n2 /file = ENOSYS (`,
		`GETATTR n2 = EINVAL (`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in:\n%s", want, out.String())
		}
	}
}
