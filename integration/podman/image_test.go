package podman

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// layer is a tar stream that is being written.
type layer struct {
	buf bytes.Buffer
	w   *tar.Writer
	err error
}

func (l *layer) add(h tar.Header, data []byte) {
	if l.w == nil {
		l.w = tar.NewWriter(&l.buf)
	}
	h.Size = int64(len(data))
	h.ModTime = time.Unix(1_700_000_000, 0)
	if l.err == nil {
		l.err = l.w.WriteHeader(&h)
	}
	if l.err == nil {
		_, l.err = l.w.Write(data)
	}
}

func (l *layer) bytes(t *testing.T) []byte {
	t.Helper()
	if l.err == nil {
		l.err = l.w.Close()
	}
	if l.err != nil {
		t.Fatal(l.err)
	}
	return l.buf.Bytes()
}

// descriptor is how OCI documents name each other.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

// image is an OCI image that is being put together.
type image struct {
	t      *testing.T
	out    layer // the archive
	layers []descriptor
	diffs  []string
	steps  []map[string]string
}

func (im *image) blob(mediaType string, data []byte) descriptor {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	im.out.add(tar.Header{Name: "blobs/sha256/" + sum, Mode: 0o644}, data)
	return descriptor{mediaType, "sha256:" + sum, len(data)}
}

func (im *image) addLayer(data []byte) {
	d := im.blob("application/vnd.oci.image.layer.v1.tar", data)
	im.layers = append(im.layers, d)
	im.diffs = append(im.diffs, d.Digest)
	im.steps = append(im.steps, map[string]string{"created_by": "a layer"}) // buildah counts them
}

// archive ends the image: an OCI layout as one tar file, as `podman load` takes it.
func (im *image) archive(name string) string {
	im.t.Helper()
	config := im.blob("application/vnd.oci.image.config.v1+json", im.json(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config":  map[string]any{"Cmd": []string{"/bin/sh"}, "Env": []string{"PATH=/bin"}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": im.diffs},
		"history": im.steps,
	}))
	manifest := im.blob("application/vnd.oci.image.manifest.v1+json", im.json(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": im.layers,
	}))
	im.out.add(tar.Header{Name: "oci-layout", Mode: 0o644}, []byte(`{"imageLayoutVersion": "1.0.0"}`))
	im.out.add(tar.Header{Name: "index.json", Mode: 0o644}, im.json(map[string]any{
		"schemaVersion": 2,
		"manifests": []any{map[string]any{
			"mediaType": manifest.MediaType, "digest": manifest.Digest, "size": manifest.Size,
			"annotations": map[string]string{"org.opencontainers.image.ref.name": name},
		}},
	}))
	return string(im.out.bytes(im.t))
}

func (im *image) json(v any) []byte {
	im.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		im.t.Fatal(err)
	}
	return text
}

// manyLayers makes n layers, bottom first, of which the lowest is the base:
// each one adds a file of its own and rewrites a common one; every tenth
// deletes the file of the layer before it and makes a directory anew.
func manyLayers(t *testing.T, n int) [][]byte {
	t.Helper()
	all := [][]byte{[]byte(baseTar(t))}
	for i := 1; i < n; i++ {
		var l layer
		l.add(tar.Header{Name: "l/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		l.add(tar.Header{Name: fmt.Sprintf("l/f%03d", i), Mode: 0o644, Uid: i % 7}, fmt.Appendf(nil, "%d\n", i))
		l.add(tar.Header{Name: "l/common", Mode: 0o644}, fmt.Appendf(nil, "%d\n", i))
		l.add(tar.Header{Name: "again/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
		if i%10 == 0 {
			l.add(tar.Header{Name: fmt.Sprintf("l/.wh.f%03d", i-1), Mode: 0o644}, nil)
			l.add(tar.Header{Name: "again/.wh..wh..opq", Mode: 0o644}, nil)
		}
		l.add(tar.Header{Name: fmt.Sprintf("again/g%03d", i), Mode: 0o644}, nil)
		all = append(all, l.bytes(t))
	}
	return all
}

// manyLayersImage is an archive of them for `podman load`.
func manyLayersImage(t *testing.T, n int) string {
	t.Helper()
	im := &image{t: t}
	for _, l := range manyLayers(t, n) {
		im.addLayer(l)
	}
	return im.archive("localhost/many:latest")
}
