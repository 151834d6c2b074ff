package union

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// indexBuilder writes the index file of a stack: it walks a union of the lowers
// as a client would, so that the file says what the union would find. What can't
// be read now is left out, and looked for when it is asked for.
type indexBuilder struct {
	fs     *FS // its own, and nobody else's
	dir    int // where the file is to be
	name   string
	key    []byte
	layers int

	w *index.Writer
}

// deepest bounds the depth of directories in a file: what is below is read from
// the layers.
const deepest = 1000

func (x *indexBuilder) close() {
	if x.dir >= 0 {
		sys.Close(x.dir)
	}
	_ = x.fs.Close()
}

// run builds the file and puts it in place whole, or not at all.
func (x *indexBuilder) run() error {
	fd, temp, e := x.create()
	if e != 0 {
		return fmt.Errorf("cannot be made in the directory: %w", e)
	}
	defer sys.Close(fd)
	err := x.write(fd)
	if err == nil {
		// What has changed meanwhile may be in the file or not.
		x.fs.stack.Settled()
		_, now, e := x.fs.indexID(x.fs.stack)
		if err = e; err == nil && !bytes.Equal(now, x.key) {
			err = errors.New("a layer was changed meanwhile")
		}
	}
	if err == nil && temp == "" {
		temp = tempName()
		if e := sys.LinkFD(fd, x.dir, temp); e != 0 {
			return e
		}
	}
	if err == nil {
		if e := sys.Rename(x.dir, temp, x.dir, x.name, 0); e != 0 {
			err = e
		}
	}
	if err != nil && temp != "" {
		_ = sys.Unlink(x.dir, temp)
	}
	return err
}

func tempName() string { return fmt.Sprintf(".new-%x", rand.Uint64()) }

// create makes a file without a name, or where that can't be had one with a
// name for the time being.
func (x *indexBuilder) create() (fd int, temp string, e unix.Errno) {
	fd, e = sys.Open(x.dir, ".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if e == 0 {
		return fd, "", 0
	}
	temp = tempName()
	fd, e = sys.Open(x.dir, temp, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
	return fd, temp, e
}

func (x *indexBuilder) write(fd int) (err error) {
	if x.w, err = index.NewWriter(fd, x.key); err != nil {
		return err
	}
	if _, e, err := x.directory(node.Root, 0); e != 0 || err != nil {
		return errors.Join(err, errnoOr(e))
	}
	return x.w.Finish()
}

func errnoOr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// directory writes a directory with all that is in it, and says where its block
// is. The errno is that of a directory that can't be read; an error ends the
// building.
func (x *indexBuilder) directory(id node.ID, depth int) (off uint64, e unix.Errno, err error) {
	fs := x.fs
	d, e := fs.rlockDir(id)
	if e != 0 {
		return 0, e, nil
	}
	ix := d.ix // it may be dropped from d; nobody changes it
	d.mu.RUnlock()
	ix.Sort()
	c := index.NewContents(ix)
	for _, b := range *d.stack.Load() {
		c.AddPart(index.Part{Layer: b.layer, XWhiteouts: b.xwh, Path: b.path})
	}
	ix.All(func(ent *index.Entry, name string) bool {
		if ent.Visible() {
			err = x.entry(d, id, ent, name, c, depth)
		}
		return err == nil
	})
	if err != nil {
		return 0, 0, err
	}
	off, err = x.w.Write(c)
	return off, 0, err
}

// entry fills in the record of a name.
func (x *indexBuilder) entry(d *dir, id node.ID, ent *index.Entry, name string, c *index.Contents, depth int) error {
	fs := x.fs
	p, e := fs.dirFD(d.i, ent.Layer)
	if e != 0 {
		return nil
	}
	defer p.release()
	f := found{layer: ent.Layer}
	if sys.StatAt(p.fd, name, &f.st) != 0 {
		return nil
	}
	if uint64(f.st.Dev) != fs.layers[ent.Layer].dev {
		return fmt.Errorf("layer %d has another file system in it, at %s: an index file can't tell of that", ent.Layer, name)
	}
	var a index.Attr
	attrOf(&f.st, &a)
	if n, e := sys.ListXattr(p.fd, name, nil); e == 0 && n == 0 {
		a.Flags |= index.NoXattrs
	}
	text, known := x.details(d, p.fd, name, &f, &a)
	if known && f.st.Mode&unix.S_IFMT == unix.S_IFDIR && depth < deepest {
		var err error
		if known, err = x.kid(id, name, &a, depth); err != nil {
			return err
		}
	}
	if known {
		c.SetText(&a, text)
		*c.Attr(ent) = a
	}
	return nil
}

// details are what goes with some types; false when it can't be had.
func (x *indexBuilder) details(d *dir, dirfd int, name string, f *found, a *index.Attr) (text string, ok bool) {
	fs := x.fs
	switch typ := f.st.Mode & unix.S_IFMT; {
	case typ == unix.S_IFLNK:
		target, e := sys.Readlink(dirfd, name)
		a.Flags |= index.Target
		return target, e == 0 && target != ""
	case a.Flags&index.NoXattrs != 0 || typ != unix.S_IFREG && typ != unix.S_IFDIR:
		return "", true
	}
	if l := &fs.layers[f.layer]; fs.hasOverride(f.layer) {
		var buf [128]byte
		if n, e := sys.GetXattr(dirfd, name, l.ovName, buf[:]); e == 0 {
			a.Flags |= index.Override
			text = string(buf[:n])
		}
	}
	if f.st.Mode&unix.S_IFMT == unix.S_IFREG && f.st.Size > 0 && !fs.layers[f.layer].bottom && fs.readsMeta() {
		if fs.findData(d, name, dirfd, f) != 0 || f.meta && text != "" {
			return "", false // there is one text
		}
		if f.meta {
			a.Flags |= index.Meta
			a.Data, a.Rdev = f.data, f.attr.Blocks
			text = f.path
		}
	}
	return text, true
}

// kid writes a directory within another. What a look-up refuses is not known:
// whoever asks shall meet the same.
func (x *indexBuilder) kid(parent node.ID, name string, a *index.Attr, depth int) (known bool, err error) {
	var e Entry
	if x.fs.Lookup(parent, name, &e) != 0 {
		return false, nil
	}
	defer x.fs.Forget(e.Node, 1)
	low := x.w.Here()
	off, errno, err := x.directory(e.Node, depth+1)
	if errno == 0 && err == nil {
		a.Rdev, a.Kid = low, off
	}
	return true, err
}
