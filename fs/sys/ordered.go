package sys

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ordered says whether the file system on a device is known to make changes
// durable in the order in which they were made: ext4 with a journal, write
// barriers and data=ordered. There, what comes after [WriteOut] can't survive a
// power loss without the data that was written out.
func Ordered(dev uint64) bool {
	// The name of the device: a file system without one, as overlayfs and btrfs
	// are, has no such link.
	link, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return false
	}
	// Only ext4 has these, and data= is only there with a journal.
	name := filepath.Base(link)
	options, err := os.ReadFile("/proc/fs/ext4/" + name + "/options")
	if err != nil {
		return false
	}
	// A journal on another device is flushed before the data are (fs/jbd2/journal.c
	// names the one inside by its inode, too).
	if inside, _ := filepath.Glob("/proc/fs/jbd2/" + name + "-*"); len(inside) == 0 {
		return false
	}
	ordered, barrier := false, false
	for o := range bytes.Lines(options) {
		switch string(bytes.TrimSpace(o)) {
		case "data=ordered":
			ordered = true
		case "barrier":
			barrier = true
		}
	}
	return ordered && barrier
}

// WriteOut writes a file's data to its device and waits until it is there. It
// waits for no journal and no cache of the device: it orders, and doesn't make
// durable.
func WriteOut(fd int) syscall.Errno {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return retry(func() syscall.Errno { return errno(unix.SyncFileRange(fd, 0, 0, all)) })
}
