package dialect

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/sys"
)

// deep makes a chain of directories below dir, each with a directory "z"
// beside the next one, and gives the innermost.
func deep(t *testing.T, dir string, depth int, name string) (inner int) {
	t.Helper()
	fd, e := sys.Open(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	for range depth {
		if e == 0 {
			e = sys.Mkdir(fd, name, 0o755)
		}
		if e == 0 {
			e = sys.Mkdir(fd, "z", 0o755)
		}
		next := -1
		if e == 0 {
			next, e = sys.OpenDir(fd, name)
		}
		if e != 0 {
			t.Fatal(e)
		}
		sys.Close(fd)
		fd = next
	}
	return fd
}

// fds is how many descriptors this process has open.
func fds(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestCheckDeep(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUpper(t)
	nsbox.Tmpfs(t, u.dir, "nr_inodes=0")
	const depth = 4000
	name := strings.Repeat("n", 250)
	inner := deep(t, u.dir, depth, name)
	if e := sys.Mknod(inner, "gone", unix.S_IFCHR, 0); e != 0 {
		t.Fatal(e)
	}
	sys.Close(inner)
	before := fds(t)
	most := 0
	var path string
	sum, err := checkDir(t, u.dir, "", func(f Finding) {
		path = f.Path
		most = max(most, fds(t))
	})
	if err != nil || sum.Dirs != 2*depth+1 || sum.Kinds[WhiteoutChar] != 1 || sum.Worst != SevInfo {
		t.Fatalf("%+v, %v", sum, err)
	}
	if len(path) != depth*251+len("gone") {
		t.Errorf("the path has %d bytes", len(path))
	}
	if most > before+openLevels+8 {
		t.Errorf("%d descriptors open, %d before", most, before)
	}
	if after := fds(t); after != before {
		t.Errorf("%d descriptors left open", after-before)
	}
}

// TestCheckDeepReopen: where ".." may not be searched, the way back is by name.
func TestCheckDeepReopen(t *testing.T) {
	u := newUpper(t)
	sys.Close(deep(t, u.dir, openLevels+10, "n"))
	fd, e := sys.Open(unix.AT_FDCWD, u.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(fd)
	c := &checker{path: []string{"n", "n", "n"}}
	stack := []level{{fd: fd}}
	for range c.path {
		var st sys.Stat
		fd, e := sys.Open(stack[len(stack)-1].fd, "n", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if e != 0 || sys.StatFD(fd, &st) != 0 {
			t.Fatal(e)
		}
		defer sys.Close(fd)
		stack = append(stack, level{fd: fd, dev: uint64(st.Dev), ino: st.Ino})
	}
	last := &stack[3]
	last.fd = -1
	if err := c.reopen(stack); err != nil || !last.is(last.fd) {
		t.Errorf("reopened: %v", err)
	}
	sys.Close(last.fd)
	last.ino++
	if err := c.reopen(stack); err != errMoved {
		t.Errorf("another directory in its place: %v", err)
	}
}

// TestCheckMoved moves a directory away while its inside is read: ".." would
// lead out of the upper, and its old parent has another name.
func TestCheckMoved(t *testing.T) {
	u := newUpper(t)
	u.mkdir("u")
	u.mkdir("out")
	inner := deep(t, u.path("u"), openLevels+10, "n")
	if e := sys.Symlink("x", inner, ".wh.link"); e != 0 {
		t.Fatal(e)
	}
	sys.Close(inner)
	before := fds(t)
	_, err := checkDir(t, u.path("u"), "", func(f Finding) {
		if f.Kind == WhiteoutFile {
			u.ok(os.Rename(u.path("u/n/n/n"), u.path("out/n")))
			u.ok(os.Rename(u.path("u/n/n"), u.path("u/n/m")))
		}
	})
	if err != errMoved {
		t.Errorf("%v, want errMoved", err)
	}
	if after := fds(t); after != before {
		t.Errorf("%d descriptors left open", after-before)
	}
}

// TestCheckWide has more entries and more subdirectories than a batch.
func TestCheckWide(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUpper(t)
	nsbox.Tmpfs(t, u.dir, "nr_inodes=0")
	n := 30000
	if s := os.Getenv("PLYFS_WIDE"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	fd, e := sys.Open(unix.AT_FDCWD, u.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.Close(fd)
	for i := range n {
		name := "entry-with-a-name-of-some-length-" + strconv.Itoa(i)
		if i%10 == 0 {
			e = sys.Mkdir(fd, name, 0o755)
		} else {
			e = sys.Mknod(fd, name, unix.S_IFREG|0o644, 0)
		}
		if e != 0 {
			t.Fatal(e)
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := int64(m.HeapSys)
	sum, err := checkDir(t, u.dir, "", nil)
	runtime.ReadMemStats(&m)
	if err != nil || sum.Dirs != uint64(n/10+1) || sum.Files != uint64(n-n/10) || sum.Worst != SevInfo {
		t.Errorf("%+v, %v", sum, err)
	}
	if grown := int64(m.HeapSys) - before; grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestCheckMountPoint(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	u := newUpper(t)
	u.mkdir("tmpfs")
	u.mkdir("bind")
	u.mkdir("d")
	nsbox.Tmpfs(t, u.path("tmpfs"), "")
	u.file("tmpfs/.wh.a", "")
	u.whiteout("d/w")
	u.ok(unix.Mount(u.path("d"), u.path("bind"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { u.ok(unix.Unmount(u.path("bind"), unix.MNT_DETACH)) })
	_, found := u.check("")
	want(t, found, "?mount-point tmpfs", "?mount-point bind", "whiteout-char d/w")
}

// TestCheckNoRights: what can't be read is a finding, not the end.
func TestCheckNoRights(t *testing.T) {
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	u := newUpper(t)
	u.mkdir("shut")
	u.mkdir("open")
	u.whiteout("open/w")
	u.ok(os.Chmod(u.path("shut"), 0))
	u.ok(os.Chmod(u.dir, 0o755))
	runtime.LockOSThread() // its rights go with it
	if err := dropCaps(); err != nil {
		t.Fatal(err)
	}
	sum, found := u.check("")
	want(t, found, "!unreadable shut", "whiteout-char open/w")
	if !sum.TrustedUnseen {
		t.Error("not said: trusted.* xattrs can't be seen")
	}
}

func dropCaps() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capset(&hdr, &data[0])
}

func TestCheckBadDescriptor(t *testing.T) {
	if _, err := Check(-1, -1, nil); err == nil || !strings.Contains(err.Error(), "upper directory") {
		t.Errorf("%v", err)
	}
}
