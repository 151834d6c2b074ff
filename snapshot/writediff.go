package snapshot

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// writeDiff writes the layer dir as a tar stream to the store, as containerd's
// walking differ does; base is what lies below it.
func writeDiff(ctx context.Context, store content.Store, base, dir string, opts []diff.Opt) (desc ocispec.Descriptor, err error) {
	var c diff.Config
	for _, o := range opts {
		if err := o(&c); err != nil {
			return desc, err
		}
	}
	kind := compression.Gzip
	switch c.MediaType {
	case "":
		c.MediaType = ocispec.MediaTypeImageLayerGzip
	case ocispec.MediaTypeImageLayerGzip:
	case ocispec.MediaTypeImageLayer:
		kind = compression.Uncompressed
	case ocispec.MediaTypeImageLayerZstd:
		kind = compression.Zstd
	default:
		return desc, notOurs("media type %s", c.MediaType)
	}
	if c.Compressor != nil {
		return desc, notOurs("a compressor of the caller's")
	}
	ref, own := c.Reference, c.Reference == ""
	if own {
		ref = "plyfs-diff-" + filepath.Base(filepath.Dir(dir)) + "-" + randomName()
	}
	w, err := store.Writer(ctx, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: c.MediaType}))
	if err != nil {
		return desc, fmt.Errorf("diff: %w", err)
	}
	defer func() {
		_ = w.Close() // after Commit it is closed
		if err != nil && own {
			_ = store.Abort(context.WithoutCancel(ctx), ref) // nobody knows of it
		}
	}()
	if !own {
		if err := w.Truncate(0); err != nil {
			return desc, fmt.Errorf("diff: %w", err)
		}
	}
	plain := digest.Canonical.Digester()
	packed, err := compression.CompressStream(w, kind)
	if err != nil {
		return desc, fmt.Errorf("diff: %w", err)
	}
	err = writeChanges(ctx, io.MultiWriter(packed, plain.Hash()), base, dir, &c)
	if e := packed.Close(); err == nil {
		err = e
	}
	if err != nil {
		return desc, fmt.Errorf("diff: %w", err)
	}
	all := map[string]string{}
	for k, v := range c.Labels {
		all[k] = v
	}
	if kind != compression.Uncompressed {
		all[labels.LabelUncompressed] = plain.Digest().String()
	}
	sum := w.Digest()
	if err := w.Commit(ctx, 0, sum, content.WithLabels(all)); err != nil && !errdefs.IsAlreadyExists(err) {
		return desc, fmt.Errorf("diff: %w", err)
	}
	info, err := store.Info(ctx, sum)
	if err != nil {
		return desc, fmt.Errorf("diff: %w", err)
	}
	if v := all[labels.LabelUncompressed]; v != "" && info.Labels[labels.LabelUncompressed] == "" {
		// The same bytes were there, made by somebody who didn't say what is in them.
		info.Labels = map[string]string{labels.LabelUncompressed: v}
		if _, err := store.Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
			return desc, fmt.Errorf("diff: %w", err)
		}
	}
	return ocispec.Descriptor{MediaType: c.MediaType, Size: info.Size, Digest: info.Digest}, nil
}

// writeChanges writes the tar stream.
func writeChanges(ctx context.Context, w io.Writer, base, dir string, c *diff.Config) error {
	var opts []archive.ChangeWriterOpt
	if c.SourceDateEpoch != nil {
		opts = append(opts, archive.WithModTimeUpperBound(*c.SourceDateEpoch))
	}
	cw := archive.NewChangeWriter(w, dir, opts...)
	err := fs.DiffDirChanges(ctx, base, dir, fs.DiffSourceOverlayFS, func(k fs.ChangeKind, path string, fi os.FileInfo, err error) error {
		if err == nil && k != fs.ChangeKindDelete && foreignMark(dir, path, fi) {
			return notOurs("deletions in %s are written in a form of their own", dir)
		}
		return cw.HandleChange(k, path, fi, err)
	})
	if err != nil {
		return err
	}
	return cw.Close()
}

// foreignMark knows the forms of deletions that upper layers have where the
// file system takes no device nodes.
func foreignMark(dir, path string, fi os.FileInfo) bool {
	if strings.HasPrefix(filepath.Base(path), ".wh.") {
		return true
	}
	if !fi.Mode().IsRegular() || fi.Size() != 0 {
		return false
	}
	for _, name := range []string{"trusted.overlay.whiteout", "user.overlay.whiteout"} {
		if _, err := unix.Lgetxattr(filepath.Join(dir, path), name, nil); err == nil {
			return true
		}
	}
	return false
}

// randomName tells two uploads of one snapshot apart.
func randomName() string {
	var b [8]byte
	_, _ = unix.Getrandom(b[:], 0) // can't fail once the system is up
	return fmt.Sprintf("%x", b)
}
