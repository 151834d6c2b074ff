package union

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

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

	workers int // that look at layers
	w       *index.Writer
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
	var recs []record
	ix.All(func(ent *index.Entry, name string) bool {
		if ent.Visible() {
			recs = append(recs, record{ent: ent, name: name})
		}
		return true
	})
	x.inspect(d, recs)
	for i := range recs {
		r := &recs[i]
		if r.err != nil {
			return 0, 0, r.err
		}
		if r.known && r.a.Mode&unix.S_IFMT == unix.S_IFDIR && depth < deepest {
			if r.known, err = x.kid(id, r.name, &r.a, depth); err != nil {
				return 0, 0, err
			}
		}
		if r.known {
			c.SetText(&r.a, r.text)
			*c.Attr(r.ent) = r.a
		}
	}
	off, err = x.w.Write(c)
	return off, 0, err
}

// record is what is found of a name.
type record struct {
	ent   *index.Entry
	name  string
	a     index.Attr
	text  string
	known bool
	err   error
}

// inspect fills in the records of a directory. Inodes that aren't in memory cost
// the kernel time, so that several workers are quicker, where somebody waits.
func (x *indexBuilder) inspect(d *dir, recs []record) {
	const few = 32 // cost less than a goroutine does
	n := min(x.workers, len(recs)/few)
	var wg sync.WaitGroup
	for w := 1; w < n; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			x.inspectSome(d, recs[len(recs)*w/n:len(recs)*(w+1)/n])
		}()
	}
	x.inspectSome(d, recs[:len(recs)/max(n, 1)])
	wg.Wait()
}

func (x *indexBuilder) inspectSome(d *dir, recs []record) {
	for i := range recs {
		recs[i].known, recs[i].err = x.entry(d, &recs[i])
	}
}

// entry fills in the record of a name; false when it can't be had.
func (x *indexBuilder) entry(d *dir, r *record) (known bool, err error) {
	fs, n := x.fs, r.ent.Layer
	p, e := fs.dirFD(d.i, n)
	if e != 0 {
		return false, nil
	}
	defer p.release()
	f := found{layer: n}
	if sys.StatAt(p.fd, r.name, &f.st) != 0 {
		return false, nil
	}
	if uint64(f.st.Dev) != fs.layers[n].dev {
		return false, fmt.Errorf("layer %d has another file system in it, at %s: an index file can't tell of that", n, r.name)
	}
	attrOf(&f.st, &r.a)
	if k, e := sys.ListXattr(p.fd, r.name, nil); e == 0 && k == 0 {
		r.a.Flags |= index.NoXattrs
	}
	r.text, known = x.details(d, p.fd, r.name, &f, &r.a)
	return known, nil
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
