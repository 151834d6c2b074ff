package passthrough

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// inCore counts the pages of a mapping that are in memory.
func inCore(t *testing.T, m []byte) (n int) {
	t.Helper()
	v := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), uintptr(unsafe.Pointer(unsafe.SliceData(v))))
	if e != 0 {
		t.Fatal("mincore", e)
	}
	for _, b := range v {
		n += int(b & 1)
	}
	return n
}

// cached counts the pages that the page cache has of a file.
func cached(t *testing.T, f *os.File) int {
	t.Helper()
	var all unix.CachestatRange
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &all, &st, 0); err != nil {
		t.Fatal("cachestat", err)
	}
	return int(st.Cache)
}

// TestPageCacheIsShared counts pages: what was read through one mount is in memory
// for the other as well, is there once, and is what the layer itself has.
func TestPageCacheIsShared(t *testing.T) {
	s := newStand(t).mount()
	other, mnt := s.u.NewStack(t, 0)
	other.Lower, other.More = s.stack.Lower, s.stack.More
	s.u.Mount(t, other, mnt)

	lower := s.open(s.lower("f"), os.O_RDONLY)
	if err := lower.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(lower.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	one, two := s.open(s.path("f"), os.O_RDONLY), s.open(filepath.Join(mnt, "f"), os.O_RDONLY)
	m := s.mapped(two, unix.PROT_READ)
	if n := inCore(t, m); n != 0 {
		t.Fatalf("%d pages are there before anybody has read", n)
	}
	if _, err := one.ReadAt(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	pages := size / os.Getpagesize()
	if n := inCore(t, m); n != pages {
		t.Errorf("the other mount has %d of %d pages", n, pages)
	}
	if n := cached(t, lower); n != pages {
		t.Errorf("the layer's file has %d of %d pages", n, pages)
	}
	// The inodes of the mounts themselves hold none.
	for _, f := range []*os.File{one, two} {
		if n := cached(t, f); n != 0 {
			t.Errorf("%s has %d pages of its own", f.Name(), n)
		}
	}
}

// TestRefused: who may not hand files to the kernel gets a mount all the same.
func TestRefused(t *testing.T) {
	root := newStand(t)
	u := harness.Unprivileged(t)
	s := &stand{TB: t, u: u}
	s.stack, s.mnt = u.NewStack(t, 0)
	s.stack.Lower, s.stack.More = root.stack.Lower, root.stack.More
	dir := filepath.Dir(root.stack.Lower[0])
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	said := u.RunIn(t, harness.SubIDs, "cd / && "+harness.MountScript(s.stack, s.mnt)+" 2>&1 && cd "+s.mnt+" && head -c4 f && echo more >>f && tail -n1 f")
	if !strings.Contains(said, "aaaa") || !strings.Contains(said, "more") {
		t.Errorf("%s", said)
	}
	root.lowerIsWhole()
}
