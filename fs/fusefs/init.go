package fusefs

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

// Session is what was agreed on with the kernel at INIT. It is all that another
// server needs to go on serving the same descriptor: the kernel asks only once.
type Session struct {
	InitIn  []byte // the INIT request, header included
	InitOut []byte // the answer that was given, header included

	// What is answered with ENOSYS, which the kernel remembers: a later
	// server must say the same.
	NoOpen    bool // files are opened without a message
	NoOpendir bool // so are directories
	NoLseek   bool // the kernel takes everything for data: it collects writes
	NoFsync   bool // fsync=volatile
}

// settings are a Session in the form that requests want, with the timeouts.
type settings struct {
	session               *Session
	entry, attr, negative timeout
	xattrExt              bool // SETXATTR has its longer struct
	passes                bool // files are opened with a message and may be handed to the kernel
}

const (
	protoMajor = 7
	// protoMinor is the newest protocol whose requests we have looked at.
	// The kernel goes by the flags, not by this number.
	protoMinor = 41
	// protoOldest is Linux 3.15; our tree wants much newer things anyway.
	protoOldest = 23

	// maxBackground is high: the WRITEs that wait for one file's copy-up
	// count, and at the bound the write-back of all other files stops too.
	maxBackground = 1024
)

// wantedFlags are the capabilities that this server makes use of, as far as the
// kernel has them.
//
// Left out on purpose: ATOMIC_O_TRUNC loses truncations when files are opened
// without a message; FLOCK and POSIX_LOCKS cost messages for what the kernel does
// alone; OVER_IO_URING promises a transport that isn't here; SPLICE_* copies no less for small requests and more slowly.
func wantedFlags(o *layer.Options) uint64 {
	want := uint64(fuse.CAP_ASYNC_READ | fuse.CAP_BIG_WRITES | fuse.CAP_MAX_PAGES |
		fuse.CAP_PARALLEL_DIROPS | fuse.CAP_ASYNC_DIO |
		fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO |
		fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT |
		fuse.CAP_DONT_MASK | fuse.CAP_HANDLE_KILLPRIV_V2 |
		fuse.CAP_SETXATTR_EXT | fuse.CAP_IOCTL_DIR |
		fuse.CAP_HAS_RESEND | fuse.CAP_INIT_EXT)
	if !o.NoACL {
		want |= fuse.CAP_POSIX_ACL
	}
	if o.Live {
		// Others change what we show. No cached symlinks either: their
		// text is never checked again.
		return want | fuse.CAP_AUTO_INVAL_DATA
	}
	want |= fuse.CAP_EXPLICIT_INVAL_DATA | fuse.CAP_CACHE_SYMLINKS
	if !o.ReadOnly && !o.NoWriteback {
		want |= fuse.CAP_WRITEBACK_CACHE
	}
	return want
}

// maxPages is how many pages a request may have: 1 MiB, or what the
// administrator allows.
func maxPages() int {
	n := maxData / os.Getpagesize()
	if b, err := os.ReadFile("/proc/sys/fs/fuse/max_pages_limit"); err == nil {
		if lim, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && lim > 0 {
			n = min(n, lim)
		}
	}
	return n
}

// defaultMaxPages is what a kernel without MAX_PAGES does.
const defaultMaxPages = 32

// negotiate answers in.
func negotiate(in *fuse.InitIn, o *layer.Options, pass bool) fuse.InitOut {
	offered := in.Flags64()
	if offered&fuse.CAP_INIT_EXT == 0 {
		offered &= 0xffffffff
	}
	want, depth := wantedFlags(o), uint32(0)
	if pass && offered&fuse.CAP_PASSTHROUGH != 0 {
		want = want&^fuse.CAP_WRITEBACK_CACHE | passFlags
		depth = 1 // overlayfs may lie on top of us
	}
	flags := offered & want &^ unsent()
	pages := defaultMaxPages
	if flags&fuse.CAP_MAX_PAGES != 0 {
		pages = maxPages()
	}
	return fuse.InitOut{
		Major:               protoMajor,
		Minor:               min(in.Minor, protoMinor),
		MaxReadAhead:        in.MaxReadAhead,
		Flags:               uint32(flags),
		Flags2:              uint32(flags >> 32),
		MaxBackground:       maxBackground,
		CongestionThreshold: maxBackground * 3 / 4,
		MaxWrite:            uint32(min(pages*os.Getpagesize(), maxData)),
		MaxPages:            uint16(pages),
		TimeGran:            1,
		MaxStackDepth:       depth,
	}
}

// init serves INIT.
func (w *worker) init() (int, syscall.Errno) {
	var in fuse.InitIn
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&in)), unsafe.Sizeof(in)), w.in) // kernels before 5.17 send less
	o, n := reply[fuse.InitOut](w)
	if in.Major > protoMajor {
		// The kernel then asks again with our version.
		o.Major, o.Minor = protoMajor, protoMinor
		return n, 0
	}
	if in.Major < protoMajor || in.Minor < protoOldest {
		w.s.log.Printf("fuse: the kernel speaks protocol %d.%d; %d.%d is needed: use Linux 4.18 or later", in.Major, in.Minor, protoMajor, protoOldest)
		return 0, syscall.EPROTO
	}
	pass, why := wantsPassthrough(w.s.options(), &w.s.cfg)
	*o = negotiate(&in, w.s.options(), pass)
	flags := o.Flags64()
	passes := flags&fuse.CAP_PASSTHROUGH != 0
	if pass && !passes {
		why = errNoPassthrough
	}
	if why != nil {
		w.s.log.Printf("fuse: io=passthrough can't be had, io=cached is: %v", why)
	}
	sess := &Session{
		InitIn:    append([]byte(nil), w.in...),
		NoOpen:    in.Flags64()&fuse.CAP_NO_OPEN_SUPPORT != 0 && !passes,
		NoOpendir: in.Flags64()&fuse.CAP_NO_OPENDIR_SUPPORT != 0,
		// The kernel asks without writing its dirty pages first.
		NoLseek: flags&fuse.CAP_WRITEBACK_CACHE != 0,
		NoFsync: w.s.options().Fsync == layer.FsyncVolatile,
	}
	w.finish(n, 0)
	sess.InitOut = append([]byte(nil), w.out[:outHeaderSize+n]...)
	if err := w.s.setUp(sess); err != nil {
		w.s.log.Printf("fuse: %v", err)
		return 0, syscall.EPROTO
	}
	return n, 0
}

// flags are the capabilities agreed on. The answer must not be shorter than
// the flags' low word; the high word is 0 where a kernel took a shorter one.
func (sess *Session) flags() uint64 {
	var out fuse.InitOut
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&out)), unsafe.Sizeof(out)), sess.InitOut[outHeaderSize:])
	return out.Flags64()
}

// setUp makes sess what requests are served by.
func (s *Server) setUp(sess *Session) error {
	const fixedIn, fixedOut = 16, 24 // up to the flags; up to max_write
	if len(sess.InitIn) < inHeaderSize+fixedIn || len(sess.InitOut) < outHeaderSize+fixedOut {
		return errors.New("the stored session is damaged: unmount, and mount again")
	}
	set := &settings{session: sess}
	set.entry, set.attr, set.negative = timeouts(s.options())
	flags := sess.flags()
	set.xattrExt = flags&fuse.CAP_SETXATTR_EXT != 0
	if b, ok := s.dev.(union.Backing); ok && flags&fuse.CAP_PASSTHROUGH != 0 {
		set.passes = true
		s.tree.Passthrough(b)
	}
	s.set.Store(set)
	return nil
}

// liveTimeout is how old an answer may be when others change the lowers.
const liveTimeout = time.Second

// timeouts says how long entries, attributes and absences are believed.
func timeouts(o *layer.Options) (entry, attr, negative timeout) {
	t := timeout{sec: forever}
	switch {
	case o.Timeout != nil:
		t = makeTimeout(*o.Timeout)
	case o.Live:
		t = makeTimeout(liveTimeout)
	}
	return t, t, t
}
