package snapshot

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Apply unpacks a layer straight into the directory of a snapshot, in the form
// of kernel overlayfs that a user namespace can write. Elsewhere containerd's
// own applier does that, by the mount of type overlay that it is given.
func (d *Differ) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (none ocispec.Descriptor, err error) {
	if !d.s.c.UserNS {
		return none, notOurs("not in a user namespace")
	}
	r, err := d.target(ctx, mounts)
	if err != nil {
		return none, err
	}
	if r.wish.uids != nil || r.wish.maxSize != 0 || !d.canMark(r.ID) {
		// Through the union, then. The caller may have no other differ.
		return apply.NewFileSystemApplier(d.store).Apply(ctx, desc, mounts, opts...)
	}
	var c diff.ApplyConfig
	for _, o := range opts {
		if err := o(ctx, desc, &c); err != nil {
			return none, err
		}
	}
	blob, err := d.store.ReaderAt(ctx, desc)
	if err != nil {
		return none, fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	defer blob.Close()
	p := diff.NewProcessorChain(desc.MediaType, content.NewReader(blob))
	defer func() { err = errors.Join(err, p.Close()) }()
	for p.MediaType() != ocispec.MediaTypeImageLayer {
		if p, err = diff.GetProcessor(ctx, p, c.ProcessorPayloads); err != nil {
			return none, fmt.Errorf("layer %s: no way to read %s: %w", desc.Digest, desc.MediaType, err)
		}
	}
	sum := digest.Canonical.Digester()
	in := &counter{r: io.TeeReader(p, sum.Hash())}
	if err := d.unpack(ctx, &r, in); err != nil {
		return none, fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	if c.SyncFs {
		if err := syncFS(d.s.layer(r.ID)); err != nil {
			return none, fmt.Errorf("layer %s: %w", desc.Digest, err)
		}
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: in.n, Digest: sum.Digest()}, nil
}

// unpack writes a tar stream to the layer, and reads it to its end. Nobody may
// have the union of it: it wouldn't know of the changes.
func (d *Differ) unpack(ctx context.Context, r *record, in io.Reader) error {
	unlock, err := d.s.ids.lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.s.releaseLocked(ctx, r.ID); err != nil {
		return err
	}
	var opts []archive.ApplyOpt
	if len(r.ParentIDs) > 0 { // else a deletion deletes what the layer has itself
		opts = append(opts, archive.WithConvertWhiteout(convertWhiteout), archive.WithParents(d.s.layers(r.ParentIDs)))
	}
	_, err = archive.Apply(ctx, d.s.layer(r.ID), in, opts...)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if d.s.form(r) == formUnion { // the caller's mounts lead there
		err = errors.Join(err, d.s.ensureLocked(ctx, r))
	}
	return err
}

// target finds the active snapshot that is to be unpacked into: its union, or
// its only directory.
func (d *Differ) target(ctx context.Context, mounts []mount.Mount) (r record, err error) {
	source := ""
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		source = mounts[0].Source
	}
	if filepath.Base(source) == "fs" && filepath.Dir(filepath.Dir(source)) == d.s.snapshots() {
		r, err = d.s.recordByID(ctx, filepath.Base(filepath.Dir(source)))
	} else {
		r, err = d.ownerOf(ctx, mounts)
	}
	if err == nil && r.Kind != snapshots.KindActive {
		err = notOurs("snapshot %s is not active", r.key)
	}
	return r, err
}

// canMark says whether deletions can be written beside the layer: a kernel
// before 5.8 lets nobody make a whiteout in a user namespace, and some file
// systems have no user xattrs.
func (d *Differ) canMark(id string) bool {
	dir, err := os.MkdirTemp(d.s.snapshot(id), "probe-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	return unix.Mknod(filepath.Join(dir, "w"), unix.S_IFCHR, 0) == nil &&
		unix.Setxattr(dir, "user.overlay.opaque", []byte("y"), 0) == nil
}

// convertWhiteout is archive.OverlayConvertWhiteout in the form that a user
// namespace may write.
func convertWhiteout(_ *tar.Header, path string) (bool, error) {
	dir, base := filepath.Split(path)
	name, marked := strings.CutPrefix(base, ".wh.")
	switch {
	case !marked:
		return true, nil
	case base == ".wh..wh..opq":
		return false, unix.Setxattr(dir, "user.overlay.opaque", []byte("y"), 0)
	}
	return false, unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR, 0)
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
