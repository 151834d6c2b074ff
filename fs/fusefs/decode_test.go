package fusefs

import (
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// TestMalformed: what the kernel never sends gets an error and no panic.
func TestMalformed(t *testing.T) {
	b := newTB(t, nil)
	long := strings.Repeat("n", 256)
	short := message(opGetattr, 1, uint64(0))
	unterminated := message(opLookup, 1, []byte("file"))
	ext := message(opLookup, 1, "file")
	binary.NativeEndian.PutUint16(ext[36:], 999)
	length := message(opLookup, 1, "file")
	length[0]++
	for _, c := range []struct {
		name string
		msg  []byte
		want syscall.Errno
	}{
		{"struct cut short", short, syscall.EINVAL},
		{"name without NUL", unterminated, syscall.EINVAL},
		{"extension longer than the request", ext, syscall.EINVAL},
		{"length of the header is wrong", length, syscall.EIO},
		{"unknown opcode", message(49, 1), syscall.ENOSYS},
		{"opcode far out", message(1<<31, 1), syscall.ENOSYS},
		{"empty name", message(opLookup, 1, ""), syscall.EINVAL},
		{"dot", message(opLookup, 1, "."), syscall.EINVAL},
		{"dot dot", message(opUnlink, 1, ".."), syscall.EINVAL},
		{"slash", message(opMkdir, 1, [8]byte{}, "a/b"), syscall.EINVAL},
		{"long name", message(opLookup, 1, long), syscall.ENAMETOOLONG},
		{"second name missing", message(opRename, 1, uint64(1), "a"), syscall.EINVAL},
		{"second name bad", message(opRename, 1, uint64(1), "a", ".."), syscall.EINVAL},
		{"empty symlink", message(opSymlink, 1, "a", ""), syscall.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := b.w.handle(c.msg); n != outHeaderSize {
				t.Fatalf("reply of %d bytes", n)
			}
			if got := syscall.Errno(-at[fuse.OutHeader](b.w.out).Status); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if n := b.w.handle(aligned(make([]byte, 39))); n != 0 {
		t.Errorf("a request without a header got a reply of %d bytes", n)
	}
	if strings.Contains(b.log.String(), "panic") {
		t.Errorf("log: %s", b.log)
	}
}
