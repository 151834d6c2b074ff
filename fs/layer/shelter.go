package layer

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Shelter opens the lower layers anew in a mount namespace of their own, in
// which everything is read-only, where the caller may make one (root, or root of
// a user namespace). It is for live layers, of which the mounts in them are a
// part: no fault of the server can write to a lower then, and what is mounted
// in the host's tree later, or unmounted, is so here as well (the mounts are
// slaves of the host's).
//
// The upper and the work directory stay open in the namespace of the caller,
// where they can be written. Where the shelter can't be had, or a layer is
// another directory by now, the layers stay as they are.
func (s *Stack) Shelter() {
	if s.shelter > 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		// The thread is in another namespace now: it ends with the goroutine.
		runtime.LockOSThread()
		defer close(done)
		s.enterShelter()
	}()
	<-done
}

// enterShelter runs on a thread of its own.
func (s *Stack) enterShelter() {
	if unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS) != nil ||
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil ||
		unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}) != nil {
		return
	}
	// Without a descriptor the namespace would end with this thread, and its
	// mounts would fall apart.
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	s.shelter = ns
	defer s.prune()
	for i := range s.Lower {
		d := &s.Lower[i]
		if magic(d.Path) {
			continue
		}
		fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if who, e := idOf(fd); e != 0 || who != d.id() {
			sys.Close(fd)
			continue
		}
		sys.Close(d.FD)
		d.FD = fd
	}
}

// prune takes from the shelter what is mounted elsewhere than in the layers and
// on the way to them. Where the host's mounts are private an unmount on the host
// doesn't reach the shelter: what was unmounted there would stay in use for as
// long as the union is mounted.
func (s *Stack) prune() {
	lowers := make([]string, 0, len(s.Lower))
	for i := range s.Lower {
		lower, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(s.Lower[i].FD))
		if err != nil || lower == "/" {
			return // all of it is needed
		}
		lowers = append(lowers, lower)
	}
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return
	}
	var away []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 {
			if dir := mountPoint.Replace(f[4]); !needed(dir, lowers) {
				away = append(away, dir)
			}
		}
	}
	for _, dir := range slices.Backward(away) { // a mount before what it is mounted on
		_ = unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
}

// needed says whether a mount point lies in a lower layer, or one in it.
func needed(mount string, lowers []string) bool {
	return slices.ContainsFunc(lowers, func(lower string) bool { return below(mount, lower) || below(lower, mount) })
}

// below says whether a path is dir or in it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// mountPoint undoes what mountinfo does to blanks, newlines and backslashes.
var mountPoint = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// magic says whether a path names a descriptor: it would lead back to
// the mount that the descriptor was opened on.
func magic(path string) bool {
	dir := filepath.Dir(filepath.Clean(path))
	return dir == "/dev/fd" || filepath.Base(dir) == "fd" && filepath.Dir(filepath.Dir(dir)) == "/proc"
}
