package fusefs

import (
	"encoding/json"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/layer"
)

// agreed is the answer to an INIT that offers flags.
func agreed(t *testing.T, o *layer.Options, flags uint64) (*tb, fuse.InitOut) {
	t.Helper()
	b := newTB(t, o)
	n := b.w.handle(initMessage(flags))
	if n != outHeaderSize+64 {
		t.Fatalf("INIT answered with %d bytes: %s", n, b.log)
	}
	return b, *at[fuse.InitOut](b.w.payload())
}

func TestInitFlags(t *testing.T) {
	const always = fuse.CAP_ASYNC_READ | fuse.CAP_BIG_WRITES | fuse.CAP_MAX_PAGES | fuse.CAP_PARALLEL_DIROPS |
		fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT |
		fuse.CAP_DONT_MASK | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_SETXATTR_EXT | fuse.CAP_INIT_EXT
	const never = fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_FLOCK_LOCKS | fuse.CAP_POSIX_LOCKS | fuse.CAP_OVER_IO_URING |
		fuse.CAP_PASSTHROUGH | fuse.CAP_ALLOW_IDMAP | fuse.CAP_SPLICE_MOVE | fuse.CAP_SPLICE_READ | fuse.CAP_SPLICE_WRITE |
		fuse.CAP_EXPORT_SUPPORT | fuse.CAP_REQUEST_TIMEOUT | fuse.CAP_SECURITY_CTX | fuse.CAP_CREATE_SUPP_GROUP
	const wb, explicit, auto = fuse.CAP_WRITEBACK_CACHE, fuse.CAP_EXPLICIT_INVAL_DATA, fuse.CAP_AUTO_INVAL_DATA
	for _, c := range []struct {
		name    string
		o       layer.Options
		with    uint64
		without uint64
	}{
		{"default", layer.Options{}, wb | explicit | fuse.CAP_POSIX_ACL | fuse.CAP_CACHE_SYMLINKS, auto},
		{"writeback=off", layer.Options{NoWriteback: true}, explicit, wb | auto},
		{"ro", layer.Options{ReadOnly: true}, explicit, wb | auto},
		{"live", layer.Options{Live: true}, auto, wb | explicit | fuse.CAP_CACHE_SYMLINKS},
		{"noacl", layer.Options{NoACL: true}, wb, fuse.CAP_POSIX_ACL},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out := agreed(t, &c.o, ^uint64(0))
			got := out.Flags64()
			if with := always | c.with; got&with != with {
				t.Errorf("flags %#x: %#x missing", got, with&^got)
			}
			if bad := got & (never | c.without); bad != 0 {
				t.Errorf("flags %#x: %#x must not be there", got, bad)
			}
		})
	}
}

func TestInitSizes(t *testing.T) {
	_, out := agreed(t, nil, kernelFlags)
	if out.Major != 7 || out.MaxBackground != 1024 || out.CongestionThreshold != 768 || out.TimeGran != 1 || out.MaxReadAhead != 128<<10 {
		t.Errorf("answer %+v", out)
	}
	if out.MaxWrite > maxData || int(out.MaxPages) != maxPages() {
		t.Errorf("max_write %d, max_pages %d", out.MaxWrite, out.MaxPages)
	}
	_, out = agreed(t, nil, kernelFlags&^fuse.CAP_MAX_PAGES)
	if out.MaxWrite > 32*64<<10 || out.MaxPages != defaultMaxPages {
		t.Errorf("without MAX_PAGES: max_write %d, max_pages %d", out.MaxWrite, out.MaxPages)
	}
}

// TestInitOld: kernels without zero-message opens get ordinary answers, and
// those that send less are understood.
func TestInitOld(t *testing.T) {
	b := newTB(t, nil)
	b.w.handle(message(opInit, 0, uint32(7), uint32(27), uint32(65536), uint32(fuse.CAP_ASYNC_READ|fuse.CAP_INIT_EXT)))
	if out := at[fuse.InitOut](b.w.payload()); out.Minor != 27 || out.Flags2 != 0 {
		t.Errorf("answer %+v", out)
	}
	if o := at[fuse.OpenOut](b.must(opOpen, 2, body(fuse.OpenIn{}))); o.Fh != 0 || o.OpenFlags != fuse.FOPEN_KEEP_CACHE {
		t.Errorf("open %+v", o)
	}
	if o := at[fuse.OpenOut](b.must(opOpendir, 1, body(fuse.OpenIn{}))); o.OpenFlags != fuse.FOPEN_KEEP_CACHE|fuse.FOPEN_CACHE_DIR {
		t.Errorf("opendir %+v", o)
	}
	if _, e := b.do(opInit, 0, uint32(7), uint32(8), uint32(65536), uint32(0)); e != syscall.EPROTO {
		t.Errorf("protocol 7.8: %v", e)
	}
	b.w.handle(message(opInit, 0, uint32(8), uint32(0), uint32(65536), uint32(0)))
	if out := at[fuse.InitOut](b.w.payload()); out.Major != 7 {
		t.Errorf("protocol 8 must be asked to speak 7: %+v", out)
	}
}

// TestNothingBeforeInit: a request that comes first is refused.
func TestNothingBeforeInit(t *testing.T) {
	b := newTB(t, nil)
	b.s.set.Store(nil)
	if _, e := b.do(opLookup, 1, "file"); e != syscall.EIO {
		t.Errorf("got %v", e)
	}
}

// TestSession: a server made from what another agreed on answers the same, also
// after the session has been stored as text.
func TestSession(t *testing.T) {
	first, _ := agreed(t, &layer.Options{NoWriteback: true}, kernelFlags&^fuse.CAP_SETXATTR_EXT&^fuse.CAP_NO_OPENDIR_SUPPORT)
	text, err := json.Marshal(first.s.Session())
	if err != nil {
		t.Fatal(err)
	}
	var sess Session
	if err := json.Unmarshal(text, &sess); err != nil {
		t.Fatal(err)
	}
	b := newTB(t, nil)
	b.s = newServer(b.dev, b.tree, Config{Session: &sess})
	b.w.s = b.s
	if err := b.s.WaitReady(); err != nil {
		t.Fatal(err)
	}
	b.must(opSetxattr, 2, uint32(3), uint32(0), "user.k2", []byte("abc")) // the short struct
	b.must(opOpendir, 1, body(fuse.OpenIn{}))
	if _, e := b.do(opOpen, 2, body(fuse.OpenIn{})); e != syscall.ENOSYS {
		t.Errorf("open: %v", e)
	}
	b.must(opLseek, 2, body(fuse.LseekIn{}))

	damaged := newServer(newFakeDevice(), b.tree, Config{Session: &Session{InitIn: []byte("x")}})
	if err := damaged.Serve(); err == nil {
		t.Error("a damaged session was served")
	}
	if err := damaged.WaitReady(); err == nil {
		t.Error("a damaged session became ready")
	}
}
