package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// detachDead detaches the mounts of our unions that have no server any more,
// wherever they are in this mount namespace. A container that has one in its
// own namespace keeps it, and gets errors.
func (s *Snapshotter) detachDead() error {
	ours := "plyfs:" + s.mountPoints() + "/"
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != "fuse.plyfs" || !strings.HasPrefix(i.Source, ours), false
	})
	if err != nil {
		return fmt.Errorf("mounts cannot be read: %w", err)
	}
	// Last mounted, first looked at: one may lie over another.
	for i := len(infos) - 1; i >= 0; i-- {
		if dir := infos[i].Mountpoint; isDead(dir) {
			s.log.Info("dead mount detached", "mountpoint", dir)
			if e := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil {
				err = errors.Join(err, fmt.Errorf("dead mount %s cannot be detached: %w", dir, e))
			}
		}
	}
	return err
}

// glance is how long a mount may take to say that it lives.
const glance = 2 * time.Second

// isDead says whether a FUSE mount has lost its connection. One that doesn't
// answer isn't dead: its server may be busy or stopped.
func isDead(dir string) bool {
	dead := make(chan bool, 1)
	go func() {
		var st unix.Statfs_t
		dead <- errors.Is(unix.Statfs(dir, &st), unix.ENOTCONN)
	}()
	select {
	case d := <-dead:
		return d
	case <-time.After(glance):
		return false
	}
}
