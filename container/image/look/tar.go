package look

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// maxEntries bounds what is kept in memory of a layer.
const maxEntries = 1 << 22

// Tar reads a layer from its archive; open opens that, decompressed.
func Tar(name string, open func() (io.ReadCloser, error)) (Layer, error) {
	l := Layer{Name: name, Open: func(p string) (io.ReadCloser, error) { return fromTar(open, p) }}
	in, err := open()
	if err != nil {
		return l, fmt.Errorf("layer %s: %w", name, err)
	}
	defer in.Close()
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return l, fmt.Errorf("layer %s: %w", name, err)
		}
		if len(l.Entries) >= maxEntries {
			return l, fmt.Errorf("layer %s: more than %d entries: refused", name, maxEntries)
		}
		l.Entries = append(l.Entries, entryOfHeader(h))
	}
}

func entryOfHeader(h *tar.Header) Entry {
	p := path.Join("/", h.Name)
	if dir, base := path.Split(p); strings.HasPrefix(base, ".wh.") {
		if base == ".wh..wh..opq" {
			return Entry{Path: path.Clean(dir), Opaque: true}
		}
		return Entry{Path: path.Join(dir, base[4:]), Gone: true}
	}
	e := Entry{Path: p, Mode: h.FileInfo().Mode(), UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Size = h.Size
	case tar.TypeSymlink:
		e.Link = h.Linkname
	case tar.TypeLink:
		e.Mode &= fs.ModePerm
	}
	return e
}

// fromTar looks for a file in an archive; what comes last counts.
func fromTar(open func() (io.ReadCloser, error), p string) (io.ReadCloser, error) {
	for range 8 { // hard links
		in, err := open()
		if err != nil {
			return nil, err
		}
		text, link, err := searchTar(in, p)
		in.Close()
		if err != nil {
			return nil, err
		}
		if link == "" {
			return io.NopCloser(strings.NewReader(text)), nil
		}
		p = link
	}
	return nil, fmt.Errorf("%s: links to links to links", p)
}

// maxFile is the most that is read of a file in an archive.
const maxFile = 8 << 20

func searchTar(in io.Reader, p string) (text, link string, err error) {
	found := false
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", err
		}
		if path.Join("/", h.Name) != p {
			continue
		}
		switch h.Typeflag {
		case tar.TypeReg:
			b, err := io.ReadAll(io.LimitReader(r, maxFile))
			if err != nil {
				return "", "", err
			}
			text, link, found = string(b), "", true
		case tar.TypeLink:
			text, link, found = "", path.Join("/", h.Linkname), true
		default:
			found = false
		}
	}
	if !found {
		return "", "", fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	return text, link, nil
}
