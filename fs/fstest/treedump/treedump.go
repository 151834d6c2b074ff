// Package treedump takes a picture of everything that a program can see of a
// directory tree, and compares two of them: names, types, owners, modes,
// sizes, link counts, contents, xattrs, device numbers, link targets and
// modification times. Tests use it to say that two filesystems show the same.
//
// It only reads. What may legitimately differ between two trees (inode
// numbers, times that are "now") is kept in the picture and left out by Diff.
package treedump

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Node is what one name shows.
type Node struct {
	Path     string // relative to the root of the tree; "." is the root
	Type     uint32 // S_IFMT bits; 0 = the name is listed but cannot be found
	Mode     uint32 // permission bits with suid, sgid and sticky
	UID, GID uint32
	Nlink    uint64
	Size     int64
	Rdev     uint64
	Ino      uint64
	Mtime    unix.Timespec
	Sum      string   // hash of a regular file's content
	Target   string   // of a symlink
	Xattrs   []string // name=value, sorted
	Names    []string // of a directory, sorted
	Subdirs  int      // directories among Names
	Err      string   // what could not be read, with the reason
}

// Tree is a picture of a directory tree, by path.
type Tree struct {
	Nodes map[string]*Node
	// Problems are contradictions within the tree: a name listed twice, a
	// type or inode number in readdir that stat does not confirm.
	Problems []string
}

// Paths lists the tree in order, parents first.
func (t *Tree) Paths() []string {
	paths := make([]string, 0, len(t.Nodes))
	for p := range t.Nodes {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

// Take takes the picture of the tree at dir. What cannot be read is in the
// picture as an error: two trees that fail alike are alike.
func Take(dir string) (*Tree, error) {
	t := &Tree{Nodes: make(map[string]*Node)}
	if err := t.add(dir, ".", nil); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tree) add(dir, rel string, ent *Dirent) error {
	full := filepath.Join(dir, rel)
	n := &Node{Path: rel}
	t.Nodes[rel] = n
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		if ent == nil {
			return fmt.Errorf("picture of %s: %w", full, err)
		}
		n.Err = "lstat: " + ErrName(err)
		return nil
	}
	n.Type, n.Mode = st.Mode&unix.S_IFMT, st.Mode&0o7777
	n.UID, n.GID, n.Nlink = st.Uid, st.Gid, uint64(st.Nlink)
	n.Size, n.Rdev, n.Ino, n.Mtime = st.Size, st.Rdev, st.Ino, st.Mtim
	if ent != nil {
		t.checkDirent(rel, ent, n)
	}
	n.readXattrs(full)
	switch n.Type {
	case unix.S_IFREG:
		n.readContent(full)
	case unix.S_IFLNK:
		n.readTarget(full)
	case unix.S_IFDIR:
		t.addDir(dir, n)
	}
	return nil
}

func (t *Tree) checkDirent(rel string, ent *Dirent, n *Node) {
	if ent.Type != unix.DT_UNKNOWN && uint32(ent.Type)<<12 != n.Type {
		t.Problems = append(t.Problems, fmt.Sprintf("%s: readdir says type %#o, stat %#o", rel, uint32(ent.Type)<<12, n.Type))
	}
	// Kernel overlayfs does not mark the directory that a copied-up file is
	// linked into, so that nobody can know in readdir what the number is.
	if ent.Ino != n.Ino && (n.Nlink < 2 || n.Type == unix.S_IFDIR) {
		t.Problems = append(t.Problems, fmt.Sprintf("%s: readdir says another inode number than stat", rel))
	}
}

func (t *Tree) addDir(dir string, n *Node) {
	ents, err := ReadDir(filepath.Join(dir, n.Path))
	if err != nil {
		n.fail("readdir", err)
		return
	}
	for i := range ents {
		e := &ents[i]
		if i > 0 && ents[i-1].Name == e.Name {
			t.Problems = append(t.Problems, fmt.Sprintf("%s: %q is listed twice", n.Path, e.Name))
			continue
		}
		n.Names = append(n.Names, e.Name)
		rel := path.Join(n.Path, e.Name)
		// With ent given, add keeps every failure in the picture.
		_ = t.add(dir, rel, e)
		if t.Nodes[rel].Type == unix.S_IFDIR {
			n.Subdirs++
		}
	}
}

func (n *Node) readContent(full string) {
	fd, err := unix.Open(full, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		n.fail("open", err)
		return
	}
	defer unix.Close(fd)
	h := sha256.New()
	buf := make([]byte, 128<<10)
	var total int64
	for {
		m, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			n.fail("read", err)
			return
		}
		if m == 0 {
			break
		}
		h.Write(buf[:m])
		total += int64(m)
	}
	if total != n.Size {
		n.Err = fmt.Sprintf("stat says %d bytes, read gives %d", n.Size, total)
	}
	n.Sum = hex.EncodeToString(h.Sum(nil)[:8])
}

func (n *Node) readTarget(full string) {
	buf := make([]byte, unix.PathMax)
	m, err := unix.Readlink(full, buf)
	if err != nil {
		n.fail("readlink", err)
		return
	}
	n.Target = string(buf[:m])
}

func (n *Node) readXattrs(full string) {
	xs, err := Xattrs(full)
	if err != nil {
		n.fail("xattrs", err)
		return
	}
	n.Xattrs = xs
}

func (n *Node) fail(what string, err error) {
	n.Err = strings.TrimSpace(n.Err + " " + what + ": " + ErrName(err))
}

// ErrName is the symbolic name of an errno, which is what two systems have to
// agree on.
func ErrName(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		if s := unix.ErrnoName(errno); s != "" {
			return s
		}
	}
	return err.Error()
}
