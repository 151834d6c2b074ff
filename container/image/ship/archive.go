package ship

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// archive is an image in one file or directory, whose parts can be read in any
// order.
type archive interface {
	// open gives a part and its size; fs.ErrNotExist when it isn't there.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// openArchive opens a directory, a tar file (compressed or not), or the
// standard input for "-".
func (s *Shipper) openArchive(name string) (archive, error) {
	if name != "-" {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(name)
			if err != nil {
				return nil, err
			}
			return dirArchive{root}, nil
		}
	}
	f, err := s.openSeekable(name)
	if err != nil {
		return nil, err
	}
	a := &tarArchive{f: f, parts: map[string]part{}}
	if err := a.scan(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, nil
}

// openSeekable gives the file, or what a stream or a compressed file holds in a
// file without a name.
func (s *Shipper) openSeekable(name string) (*os.File, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && name != "-" {
		head := make([]byte, 4)
		n, _ := f.ReadAt(head, 0)
		if !compressed(head[:n]) {
			return f, nil
		}
	}
	if name != "-" {
		defer f.Close()
	}
	fd, err := unix.Open(filepath.Join(s.Store.Dir(), "partial"), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	spool := os.NewFile(uintptr(fd), name)
	plain, err := openPlain(f)
	if err == nil {
		defer plain.Close()
		var n int64
		limit := s.limits().Bytes
		n, err = io.Copy(spool, io.LimitReader(plain, limit+1))
		if err == nil && n > limit {
			err = fmt.Errorf("more than %d bytes: refused (--max-size allows more)", limit)
		}
	}
	if err != nil {
		spool.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	_, err = spool.Seek(0, io.SeekStart)
	return spool, err
}

func compressed(head []byte) bool {
	return len(head) == 4 && (head[0] == 0x1f && head[1] == 0x8b || string(head) == "\x28\xb5\x2f\xfd")
}

// part is where a file of a tar archive lies in it.
type part struct {
	at, size int64
	link     string
}

type tarArchive struct {
	f     *os.File
	parts map[string]part
}

// maxParts bounds the names that are kept in memory.
const maxParts = 1 << 18

func (a *tarArchive) scan() error {
	for r := tar.NewReader(a.f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("no tar archive, or a damaged one: %w", err)
		}
		at, err := a.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if len(a.parts) > maxParts {
			return fmt.Errorf("more than %d files: this is no archive of an image; plyfs import takes a root tarball", maxParts)
		}
		name := path.Join("/", h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			a.parts[name] = part{at: at, size: h.Size}
		case tar.TypeSymlink:
			a.parts[name] = part{link: path.Join("/", path.Dir(name), h.Linkname)[1:]}
		case tar.TypeLink:
			a.parts[name] = part{link: path.Join("/", h.Linkname)[1:]}
		}
	}
}

func (a *tarArchive) open(name string) (io.ReadCloser, int64, error) {
	name = path.Join("/", name)[1:]
	for range 8 { // a layer that is there twice is a link to the other
		p, ok := a.parts[name]
		if !ok {
			break
		}
		if p.link == "" {
			return io.NopCloser(io.NewSectionReader(a.f, p.at, p.size)), p.size, nil
		}
		name = p.link
	}
	return nil, 0, fmt.Errorf("%s in the archive: %w", name, fs.ErrNotExist)
}

func (a *tarArchive) Close() error { return a.f.Close() }

// dirArchive is a directory; nothing in it leads out of it.
type dirArchive struct{ root *os.Root }

func (a dirArchive) open(name string) (io.ReadCloser, int64, error) {
	f, err := a.root.Open(strings.TrimPrefix(path.Join("/", name), "/"))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (a dirArchive) Close() error { return a.root.Close() }

// readPart reads a small part whole.
func readPart(a archive, name string) ([]byte, error) {
	f, size, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxJSON {
		return nil, fmt.Errorf("%s: %d bytes are too many", name, size)
	}
	return io.ReadAll(bufio.NewReader(f))
}
