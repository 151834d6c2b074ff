// Package inroot reaches objects in a directory tree that somebody hostile
// may have made and may be changing: every path is resolved by the kernel with
// the tree as its root, magic links are refused, and what was found is used by
// its descriptor and never by its name again.
//
// It needs openat2(2), Linux 5.6. It holds no state and no lock.
package inroot

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens p in the tree whose top is the descriptor root; symbolic links
// are followed within it.
func Open(root int, p string, flags int) (int, error) {
	return open(root, p, flags, 0)
}

// OpenPlain is Open where no part of p may be a symbolic link.
func OpenPlain(root int, p string, flags int) (int, error) {
	return open(root, p, flags, unix.RESOLVE_NO_SYMLINKS)
}

// Call is what Open tells openat2(2), for who calls it by other means. With
// RESOLVE_NO_SYMLINKS it is what OpenPlain does.
func Call(p string, flags int) (name string, how *unix.OpenHow) {
	return clean(p), &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
}

func open(root int, p string, flags int, more uint64) (int, error) {
	name, how := Call(p, flags)
	how.Resolve |= more
	for {
		fd, err := unix.Openat2(root, name, how)
		// EAGAIN: something was renamed meanwhile, and the kernel can't tell
		// whether we have left the tree.
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			if err != nil {
				err = fmt.Errorf("%s: %w", p, err)
			}
			return fd, err
		}
	}
}

// clean makes p relative, so that "" is the top.
func clean(p string) string {
	return "." + path.Clean("/"+p)
}

// maxLinks is the kernel's bound of symbolic links in one path.
const maxLinks = 40

// MkdirAll opens the directory p and makes what is missing of it, with mode
// 0755. Symbolic links are followed within the tree, also those that lead to
// nothing yet.
func MkdirAll(root int, p string) (int, error) {
	fd, err := Open(root, p, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	at, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// done is the part of the path that exists, without links: it is what a
	// ".." in a link's text is taken from.
	done, rest, links := "/", strings.Split(path.Clean("/" + p)[1:], "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		next, err := step(at, name)
		var link symlink
		if errors.As(err, &link) {
			if links++; links > maxLinks {
				err = fmt.Errorf("%s: %w", p, unix.ELOOP)
			} else {
				target := string(link)
				if !path.IsAbs(target) {
					target = path.Join(done, target)
				}
				rest = append(strings.Split(path.Clean(target)[1:], "/"), rest...)
				done = "/"
				next, err = unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
			}
		} else if err == nil {
			done = path.Join(done, name)
		}
		unix.Close(at)
		if err != nil {
			return -1, fmt.Errorf("%s: %w", p, err)
		}
		at = next
	}
	return at, nil
}

// symlink is the text of a link that stands where a directory is wanted.
type symlink string

func (symlink) Error() string { return "is a symbolic link" }

// step opens one directory in another, or makes it.
func step(at int, name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range 2 {
		fd, err := unix.Openat2(at, name, &how)
		switch {
		case errors.Is(err, unix.ENOENT):
			if err := unix.Mkdirat(at, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
				return -1, err
			}
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			// What proc shows as links are none: their text is only a hint.
			var fs unix.Statfs_t
			if e := unix.Fstatfs(at, &fs); e != nil || fs.Type == unix.PROC_SUPER_MAGIC {
				return -1, unix.ELOOP
			}
			buf := make([]byte, unix.PathMax)
			if n, e := unix.Readlinkat(at, name, buf); e == nil {
				return -1, symlink(buf[:n])
			}
			return -1, err
		default:
			return fd, err
		}
	}
	return -1, unix.ENOENT
}

// Touch opens the file p with O_PATH, and makes an empty one where nothing is;
// directories on the way are made, too.
func Touch(root int, p string) (int, error) {
	fd, err := Open(root, p, unix.O_PATH)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir, err := MkdirAll(root, path.Dir(path.Clean("/"+p)))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	name := path.Base(path.Clean("/" + p))
	fd, err = unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0o644)
	if err == nil {
		unix.Close(fd)
	} else if !errors.Is(err, unix.EEXIST) {
		return -1, fmt.Errorf("%s: %w", p, err)
	}
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", p, err)
	}
	return fd, nil
}
