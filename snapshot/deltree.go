package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// deleteTree deletes a directory of ours with all that is in it. It works on
// descriptors, so that a directory that is swapped for a link leads nowhere, and
// doesn't go through a mount point: what is mounted in the tree belongs to
// somebody, and is named in the error. It stops when ctx ends; what is left is
// for the next time.
func deleteTree(ctx context.Context, path string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot delete %s: %w", path, err)
	}
	defer unix.Close(parent)
	d := deleter{ctx: ctx, top: path, parent: parent, mount: sys.MountID(parent, "")}
	err = d.remove(parent, filepath.Base(path), path)
	for len(d.deep) > 0 && ctx.Err() == nil {
		name := d.deep[0]
		d.deep = d.deep[1:]
		err = errors.Join(err, d.remove(parent, name, filepath.Join(filepath.Dir(path), name)))
	}
	return err
}

type deleter struct {
	ctx    context.Context
	top    string
	parent int      // the directory that top is in
	mount  uint64   // the mount that all of it is on
	moved  int      // how many names deep has had
	deep   []string // directories that were moved into parent
}

// maxDepth bounds the recursion, which holds a descriptor for each level. What
// is deeper is moved up to be deleted by itself.
const maxDepth = 200

// remove deletes name in dirfd; path is for messages.
func (d *deleter) remove(dirfd int, name, path string) error {
	e := sys.Unlink(dirfd, name)
	if e == 0 || e == unix.ENOENT {
		return nil
	}
	if e != unix.EISDIR && e != unix.EPERM {
		return fmt.Errorf("cannot delete %s: %w", path, e)
	}
	return d.removeDir(dirfd, name, path, 0)
}

func (d *deleter) removeDir(dirfd int, name, path string, depth int) error {
	if sys.MountID(dirfd, name) != d.mount {
		return fmt.Errorf("cannot delete %s: something is mounted on %s: unmount it", d.top, path)
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if e == unix.EACCES { // rootless: a directory of an image without permissions
		if e = sys.Chmod(dirfd, name, 0o700); e == 0 {
			fd, e = sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		}
	}
	if e == unix.ENOENT {
		return nil
	}
	if e != 0 {
		return fmt.Errorf("cannot delete %s: %w", path, e)
	}
	err := d.empty(fd, path, depth)
	sys.Close(fd)
	if err != nil {
		return err
	}
	if e := sys.Rmdir(dirfd, name); e != 0 && e != unix.ENOENT {
		return fmt.Errorf("cannot delete %s: %w", path, e)
	}
	return nil
}

// empty deletes everything in a directory. Every fault is gone past, and the
// first told.
func (d *deleter) empty(fd int, path string, depth int) error {
	var failed error
	for {
		type entry struct {
			name string
			dir  bool
		}
		var entries []entry
		if e := sys.Rewind(fd); e != 0 {
			return fmt.Errorf("cannot delete %s: %w", path, e)
		}
		e := sys.ReadDir(fd, make([]byte, 32<<10), func(name string, _ uint64, typ uint8) bool {
			entries = append(entries, entry{strings.Clone(name), typ == unix.DT_DIR})
			return len(entries) < 10000
		})
		if e != 0 {
			return fmt.Errorf("cannot delete %s: %w", path, e)
		}
		done := 0
		for _, en := range entries {
			if err := d.ctx.Err(); err != nil {
				return fmt.Errorf("cannot delete %s: %w", path, err)
			}
			err := d.entry(fd, en.name, path+"/"+en.name, en.dir, depth)
			if err == nil {
				done++
			}
			fail.Point("trash.entry")
			failed = errors.Join(failed, firstOnly(failed, err))
		}
		if done < len(entries) || len(entries) == 0 {
			return failed
		}
	}
}

// entry deletes one name of a directory.
func (d *deleter) entry(fd int, name, path string, dir bool, depth int) error {
	if !dir {
		switch e := sys.Unlink(fd, name); e {
		case 0, unix.ENOENT:
			return nil
		case unix.EISDIR: // DT_UNKNOWN
		case unix.EBUSY:
			return fmt.Errorf("cannot delete %s: something is mounted on %s: unmount it", d.top, path)
		default:
			return fmt.Errorf("cannot delete %s: %w", path, e)
		}
	}
	if depth > maxDepth {
		d.moved++
		up := fmt.Sprintf("%s.deep%d", filepath.Base(d.top), d.moved)
		if e := sys.Rename(fd, name, d.parent, up, unix.RENAME_NOREPLACE); e != 0 {
			return fmt.Errorf("cannot delete %s: %w", path, e)
		}
		d.deep = append(d.deep, up)
		return nil
	}
	return d.removeDir(fd, name, path, depth+1)
}

// firstOnly keeps an error message to one line.
func firstOnly(have, err error) error {
	if have != nil {
		return nil
	}
	return err
}
