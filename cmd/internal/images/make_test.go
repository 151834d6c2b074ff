package images

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image/ship"
)

// builder makes an OCI layout in memory.
type builder struct {
	t     *testing.T
	blobs map[string][]byte // by digest
	m     ocispec.Manifest
	cfg   ocispec.Image
}

func newBuilder(t *testing.T) *builder {
	b := &builder{t: t, blobs: map[string][]byte{}}
	b.cfg.Architecture, b.cfg.OS = ship.ThisPlatform().Architecture, "linux"
	b.cfg.RootFS.Type = "layers"
	return b
}

func hexOf(p []byte) string {
	h := sha256.Sum256(p)
	return hex.EncodeToString(h[:])
}

func (b *builder) put(mediaType string, p []byte) ocispec.Descriptor {
	d := digest.Digest("sha256:" + hexOf(p))
	b.blobs[d.String()] = p
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(p))}
}

// layer adds a layer of an archive, compressed as the type says.
func (b *builder) layer(mediaType string, plain []byte) *builder {
	b.t.Helper()
	packed := plain
	var buf bytes.Buffer
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		w := gzip.NewWriter(&buf)
		_, _ = w.Write(plain)
		_ = w.Close()
		packed = buf.Bytes()
	case ocispec.MediaTypeImageLayerZstd:
		w, err := zstd.NewWriter(&buf)
		if err != nil {
			b.t.Fatal(err)
		}
		_, _ = w.Write(plain)
		_ = w.Close()
		packed = buf.Bytes()
	}
	b.m.Layers = append(b.m.Layers, b.put(mediaType, packed))
	b.cfg.RootFS.DiffIDs = append(b.cfg.RootFS.DiffIDs, digest.Digest("sha256:"+hexOf(plain)))
	b.cfg.History = append(b.cfg.History, ocispec.History{CreatedBy: "test"})
	return b
}

func (b *builder) files(files ...file) *builder {
	b.t.Helper()
	return b.layer(ocispec.MediaTypeImageLayerGzip, tarOf(b.t, files...))
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// manifest finishes the image.
func (b *builder) manifest() ocispec.Descriptor {
	b.t.Helper()
	b.m.Versioned, b.m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	b.m.Config = b.put(ocispec.MediaTypeImageConfig, mustJSON(b.t, b.cfg))
	return b.put(ocispec.MediaTypeImageManifest, mustJSON(b.t, b.m))
}

// dir writes the layout into a directory.
func (b *builder) dir(name string) string {
	b.t.Helper()
	d := b.manifest()
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	to := b.t.TempDir()
	files := map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": mustJSON(b.t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}}),
	}
	for d, p := range b.blobs {
		files["blobs/sha256/"+digest.Digest(d).Encoded()] = p
	}
	for name, p := range files {
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path, p, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	return to
}

// docker writes what docker save writes.
func (b *builder) docker(name string) string {
	b.t.Helper()
	b.manifest()
	var files []file
	item := map[string]any{"Config": "config.json", "RepoTags": []string{name}}
	var names []string
	for i, l := range b.m.Layers {
		n := string(rune('a'+i)) + "/layer.tar"
		names = append(names, n)
		files = append(files, reg(n, string(b.blobs[l.Digest.String()])))
	}
	item["Layers"] = names
	files = append(files, reg("config.json", string(b.blobs[b.m.Config.Digest.String()])), reg("manifest.json", string(mustJSON(b.t, []any{item}))))
	to := filepath.Join(b.t.TempDir(), "docker.tar")
	if err := os.WriteFile(to, tarOf(b.t, files...), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return to
}
