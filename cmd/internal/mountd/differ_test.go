package mountd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/snapshot"
)

// tarOf makes a layer of names with their contents; a name that ends with a
// slash is a directory.
func tarOf(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &tar.Header{Name: pairs[i], Mode: 0o644, Size: int64(len(pairs[i+1])), Typeflag: tar.TypeReg, Uid: i, Gid: i}
		if pairs[i][len(pairs[i])-1] == '/' {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(pairs[i+1]))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// TestDifferUserNS unpacks layers in a user namespace, where containerd's own
// shortcut doesn't work, and makes one of what was changed.
func TestDifferUserNS(t *testing.T) {
	require.FUSE(t)
	require.UserNS(t)
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	store, err := local.NewStore(t.TempDir())
	must(t, err)
	d := snapshot.NewDiffer(w.Snapshotter, store)
	parent := ""
	for i, blob := range [][]byte{
		tarOf(t, "d/", "", "d/stays", "stays", "d/goes", "goes", "o/", "", "o/hidden", "hidden", "f", "file"),
		tarOf(t, "d/.wh.goes", "", "o/", "", "o/.wh..wh..opq", "", "o/new", "new", "f/", "", "f/in", "now a directory"),
	} {
		desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
		must(t, content.WriteBlob(ctx, store, desc.Digest.String(), bytes.NewReader(blob), desc))
		key, name := "unpack of "+desc.Digest.String(), string(rune('a'+i))
		m := w.prepare(key, parent, map[string]string{"containerd.io/snapshot.ref": name})
		got, err := d.Apply(ctx, desc, m)
		must(t, err)
		if got.Digest != desc.Digest || got.Size != desc.Size {
			t.Errorf("applied %v, want %v", got, desc)
		}
		must(t, w.Commit(ctx, name, key))
		parent = name
	}
	m := w.prepare("c", parent, nil)
	upper := w.upper("c")
	w.with(m, func(dir string) {
		for name, want := range map[string]string{"/d/stays": "stays", "/o/new": "new", "/f/in": "now a directory"} {
			if got := read(t, dir+name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		for _, name := range []string{"/d/goes", "/o/hidden"} {
			if !gone(dir + name) {
				t.Errorf("%s is there", name)
			}
		}
		must(t, os.Remove(dir+"/d/stays"))
		must(t, os.RemoveAll(dir+"/o"))
		write(t, dir+"/o/again", "again")
	})
	desc := compare(t, w, d, "c", parent)
	blob, err := content.ReadBlob(ctx, store, desc)
	must(t, err)
	names := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(blob)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names[h.Name] = true
	}
	for _, want := range []string{"d/.wh.stays", "o/.wh..wh..opq", "o/again"} {
		if !names[want] {
			t.Errorf("the diff has no %s: %v", want, names)
		}
	}
	if len(names) != 5 { // and the two directories
		t.Errorf("the diff has %v", names)
	}
	if gone(upper) {
		t.Error("the layer is gone")
	}
	// Another base, another snapshotter's mounts: for somebody else.
	v, err := w.View(ctx, "v", "a")
	must(t, err)
	for _, lower := range [][]mount.Mount{v, {{Type: "overlay", Source: "overlay"}}, nil} {
		if _, err := d.Compare(ctx, lower, m); !errdefs.IsNotImplemented(err) {
			t.Errorf("lower %v: %v", lower, err)
		}
	}
	if _, err := d.Apply(ctx, desc, []mount.Mount{{Type: "bind", Source: t.TempDir()}}); !errdefs.IsNotImplemented(err) {
		t.Errorf("a foreign mount: %v", err)
	}
}

// compare makes an uncompressed diff of an active snapshot.
func compare(t *testing.T, w *world, d *snapshot.Differ, key, parent string) ocispec.Descriptor {
	t.Helper()
	ctx := context.Background()
	lower, err := w.View(ctx, "base of "+key, parent)
	must(t, err)
	upper, err := w.Mounts(ctx, key)
	must(t, err)
	desc, err := d.Compare(ctx, lower, upper, diff.WithMediaType(ocispec.MediaTypeImageLayer))
	must(t, err)
	must(t, w.Remove(ctx, "base of "+key))
	return desc
}

// TestDiffOfHardLinks: where the upper directory doesn't tell all, the differ
// doesn't try.
func TestDiffOfHardLinks(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	store, err := local.NewStore(t.TempDir())
	must(t, err)
	d := snapshot.NewDiffer(w.Snapshotter, store)
	w.layer("base", "", func(dir string) {
		write(t, dir+"/a", "both")
		must(t, os.Link(dir+"/a", dir+"/b"))
	})
	m := w.prepare("c", "base", nil)
	lower, err := w.View(ctx, "v", "base")
	must(t, err)
	w.with(m, func(dir string) { must(t, os.WriteFile(dir+"/a", []byte("changed"), 0o644)) })
	if _, err := d.Compare(ctx, lower, m); !errdefs.IsNotImplemented(err) {
		t.Errorf("a name that isn't in the upper has changed: %v", err)
	}
}
