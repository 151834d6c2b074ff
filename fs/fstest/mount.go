package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is a stack of layers on disk and where it is mounted.
type Mount struct {
	Dir         string   // the merged view
	Lowers      []string // top first
	Upper, Work string   // "" when read-only
	Index       string   // of index files; "" when there are none

	v      *Variant
	extra  []string // options of this mount only
	files  int      // RLIMIT_NOFILE of the server, 0 = ours
	server *server
	up     bool

	before map[string]string // the lowers as they were; see lowerState
}

// NewMount names the directories of a stack below base and makes them.
// Nothing is mounted yet.
func NewMount(v *Variant, base string) (*Mount, error) {
	m := &Mount{v: v, Dir: filepath.Join(base, "mnt")}
	dirs := []string{m.Dir}
	for i := v.Lowers - 1; i >= 0; i-- {
		m.Lowers = append(m.Lowers, filepath.Join(base, fmt.Sprintf("l%02d", i)))
	}
	dirs = append(dirs, m.Lowers...)
	if !v.ReadOnly {
		m.Upper, m.Work = filepath.Join(base, "upper"), filepath.Join(base, "work")
		dirs = append(dirs, m.Upper, m.Work)
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if v.Indexed {
		m.Index = filepath.Join(base, "index")
		if err := os.MkdirAll(m.Index, 0o700); err != nil {
			return nil, err
		}
	}
	if v.Override {
		// A layer is in this form when its root says so.
		for _, d := range dirs[1:] {
			if d == m.Work {
				continue
			}
			if err := unix.Setxattr(d, overrideXattr, []byte("0:0:0755:dir"), 0); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// Layer is the directory of the i-th lower from the bottom.
func (m *Mount) Layer(i int) string { return m.Lowers[len(m.Lowers)-1-i] }

// Up mounts.
func (m *Mount) Up() error {
	var err error
	switch m.v.Kind {
	case Plain:
		// The single "layer" is the tree itself.
		err = unix.Mount(m.Layer(0), m.Dir, "", unix.MS_BIND, "")
	case Overlay:
		err = m.overlay()
	default:
		m.server, err = m.plyfs()
	}
	m.up = err == nil
	return err
}

// Down unmounts and waits until the server is gone.
func (m *Mount) Down() error {
	if !m.up {
		return nil
	}
	m.up = false
	var err error
	for range 100 {
		if m.v.Who == User {
			err = plyfsCommand("umount", m.Dir)
		} else {
			err = unix.Unmount(m.Dir, 0)
		}
		if err == nil || !errors.Is(err, unix.EBUSY) && !strings.Contains(err.Error(), "resource busy") {
			break // a file that was just closed may keep it busy for a moment
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		err = fmt.Errorf("unmount %s: %w (%s)", m.Dir, err, holders(m.Dir))
		unix.Unmount(m.Dir, unix.MNT_DETACH)
	}
	if m.server != nil {
		err = errors.Join(err, m.server.wait(10*time.Second))
	}
	return err
}

// dropIndex deletes the index file.
func (m *Mount) dropIndex() {
	if m.Index != "" {
		files, _ := filepath.Glob(filepath.Join(m.Index, "*"))
		for _, f := range files {
			os.Remove(f)
		}
	}
}

// overlay mounts kernel overlayfs through the new mount API, which has no
// limit on the length of the options.
func (m *Mount) overlay() error {
	set := [][2]string{}
	for _, l := range m.Lowers {
		set = append(set, [2]string{"lowerdir+", l})
	}
	if m.Upper != "" {
		set = append(set, [2]string{"upperdir", m.Upper}, [2]string{"workdir", m.Work})
	}
	for _, o := range append(m.v.Options, m.extra...) {
		k, v, _ := strings.Cut(o, "=")
		set = append(set, [2]string{k, v})
	}
	return OverlayMount(m.Dir, set)
}

// OverlayMount mounts kernel overlayfs with these key, value pairs at dir. A
// pair without a value is a flag.
func OverlayMount(dir string, set [][2]string) error {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fd)
	for _, kv := range set {
		if kv[1] == "" {
			err = unix.FsconfigSetFlag(fd, kv[0])
		} else {
			err = unix.FsconfigSetString(fd, kv[0], kv[1])
		}
		if err != nil {
			return fmt.Errorf("overlay %s=%s: %w", kv[0], kv[1], err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		buf := make([]byte, 4096)
		n, _ := unix.Read(fd, buf)
		return fmt.Errorf("overlay: %w %s", err, bytes.TrimSpace(buf[:max(n, 0)]))
	}
	mfd, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("fsmount overlay: %w", err)
	}
	defer unix.Close(mfd)
	return unix.MoveMount(mfd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// options is the text of plyfs' -o.
func (m *Mount) options() string {
	o := []string{"lowerdir=" + strings.Join(m.Lowers, ":")}
	if m.Upper != "" {
		o = append(o, "upperdir="+m.Upper, "workdir="+m.Work)
	}
	if m.Index != "" {
		o = append(o, "index="+m.Index)
	}
	switch m.v.Who {
	case Root:
		o = append(o, "allow_other", "dev", "suid")
	case NSRoot, Sole:
		o = append(o, "allow_other", "suid")
	}
	return strings.Join(append(append(o, m.v.Options...), m.extra...), ",")
}

// device is st_dev of a path, 0 when it can't be had.
func device(p string) uint64 {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return 0
	}
	return st.Dev
}
