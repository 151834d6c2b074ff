package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// detachDead detaches the mounts of our unions that have no server any more,
// wherever they are in this mount namespace. A container that has one in its
// own namespace keeps it, and gets errors. served are the directories whose
// unions need not be looked at.
func (s *Snapshotter) detachDead(served map[string]bool) error {
	ours := "plyfs:" + s.mountPoints() + "/"
	for {
		infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
			dir, plyfs := strings.CutPrefix(i.Source, "plyfs:")
			return i.FSType != "fuse.plyfs" || !plyfs || !strings.HasPrefix(i.Source, ours) || served[dir], false
		})
		if err != nil {
			return fmt.Errorf("mounts cannot be read: %w", err)
		}
		var dirs []string
		for _, i := range infos {
			dirs = append(dirs, i.Mountpoint)
		}
		slices.Sort(dirs)
		dead := deadOnes(slices.Compact(dirs))
		for _, dir := range dead {
			s.log.Info("dead mount detached", "mountpoint", dir)
			if e := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil {
				err = errors.Join(err, fmt.Errorf("dead mount %s cannot be detached: %w", dir, e))
			}
		}
		if err != nil || len(dead) == 0 {
			return err
		}
		// Under one that was detached there may be another.
	}
}

// glance is how long mounts may take to say that they live.
const glance = 2 * time.Second

// deadOnes are the mount points of FUSE mounts that have lost their connection.
// One that doesn't answer isn't dead: its server may be busy or stopped.
func deadOnes(dirs []string) (dead []string) {
	answers := make(chan string, len(dirs)) // "" is one that lives
	for _, dir := range dirs {
		go func() {
			var st unix.Statfs_t
			if !errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN) {
				dir = ""
			}
			answers <- dir
		}()
	}
	enough := time.After(glance)
	for range dirs {
		select {
		case dir := <-answers:
			if dir != "" {
				dead = append(dead, dir)
			}
		case <-enough:
			return dead
		}
	}
	return dead
}
