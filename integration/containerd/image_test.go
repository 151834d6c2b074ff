package containerd

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// layer is a tar stream that is being written.
type layer struct {
	t   *testing.T
	buf bytes.Buffer
	w   *tar.Writer
}

func newLayer(t *testing.T) *layer {
	l := &layer{t: t}
	l.w = tar.NewWriter(&l.buf)
	return l
}

// long ago: a time that an unpacker has to set.
var longAgo = time.Date(2015, 3, 4, 5, 6, 7, 0, time.UTC)

func (l *layer) add(h tar.Header, data string) *layer {
	l.t.Helper()
	h.Size, h.ModTime = int64(len(data)), longAgo
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	must(l.t, l.w.WriteHeader(&h))
	_, err := l.w.Write([]byte(data))
	must(l.t, err)
	return l
}

func (l *layer) dir(name string, mode int64) *layer {
	l.t.Helper()
	return l.add(tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}, "")
}

func (l *layer) file(name, data string) *layer {
	l.t.Helper()
	return l.add(tar.Header{Name: name}, data)
}

// deleted is the mark of a name that a lower layer has.
func (l *layer) deleted(name string) *layer {
	l.t.Helper()
	return l.file(filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name)), "")
}

// anew is the mark of a directory that shows nothing of lower layers.
func (l *layer) anew(name string) *layer {
	l.t.Helper()
	return l.file(name+"/.wh..wh..opq", "")
}

func (l *layer) bytes() []byte {
	l.t.Helper()
	must(l.t, l.w.Close())
	return l.buf.Bytes()
}

// netRaw is cap_net_raw=ep as a value of security.capability, version 2.
func netRaw() string {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	b = binary.LittleEndian.AppendUint32(b, 1<<13)
	return string(append(b, make([]byte, 12)...))
}

// testLayers are five layers with all that a layer can have: deletions, an
// opaque directory, hard links, capabilities, a device node, owners, set-user-ID,
// a file that becomes a directory and the other way round.
func testLayers(t *testing.T) [][]byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	must(t, err)
	busybox, err := os.ReadFile(path)
	must(t, err)
	base := newLayer(t).dir("bin", 0o755).dir("etc", 0o755).dir("tmp", 0o1777).dir("dev", 0o755).dir("proc", 0o555).dir("sys", 0o555).
		add(tar.Header{Name: "bin/busybox", Mode: 0o755}, string(busybox)).
		file("etc/passwd", "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n").
		file("etc/group", "root:x:0:\n")
	for _, applet := range []string{"sh", "ls", "cat", "echo", "stat", "sleep", "rm", "mkdir", "mv", "ln", "dd", "id", "sync", "chown", "touch", "find", "true"} {
		base.add(tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, "")
	}
	files := newLayer(t).dir("d", 0o755).dir("o", 0o750).dir("whole", 0o755).
		file("d/stays", "stays\n").file("d/goes", "goes\n").file("o/hidden", "hidden\n").file("whole/f", "f\n").
		file("becomes-dir", "a file\n").dir("becomes-file", 0o755).file("becomes-file/in", "in\n").
		add(tar.Header{Name: "d/owned", Uid: 1000, Gid: 1001, Mode: 0o640}, "owned\n").
		add(tar.Header{Name: "d/suid", Uid: 1000, Mode: 0o4755}, "suid\n").
		file("d/hard", "hard\n").
		add(tar.Header{Name: "d/hard2", Typeflag: tar.TypeLink, Linkname: "d/hard"}, "")
	special := newLayer(t).
		add(tar.Header{Name: "d/caps", Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": netRaw()}}, "caps\n").
		add(tar.Header{Name: "d/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, "").
		add(tar.Header{Name: "d/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}, "").
		add(tar.Header{Name: "d/xattr", PAXRecords: map[string]string{"SCHILY.xattr.user.mark": "value"}}, "xattr\n")
	deletions := newLayer(t).deleted("d/goes").deleted("whole").dir("o", 0o700).anew("o").file("o/new", "new\n").
		dir("becomes-dir", 0o711).file("becomes-dir/in", "in\n").file("becomes-file", "now a file\n")
	top := newLayer(t).file("d/stays", "changed\n").dir("whole", 0o755).file("whole/g", "g\n").file("top", "top\n")
	var all [][]byte
	for _, l := range []*layer{base, files, special, deletions, top} {
		all = append(all, l.bytes())
	}
	return all
}

// descriptor is how OCI documents name each other.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive writes an OCI layout as one tar file, which `ctr image import` takes.
func archive(t *testing.T, to, name string, layers [][]byte, cmd ...string) {
	t.Helper()
	out := newLayer(t)
	blob := func(mediaType string, data []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		out.file("blobs/sha256/"+sum, string(data))
		return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: len(data)}
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		must(t, err)
		return b
	}
	var descriptors []descriptor
	var ids []string
	for _, l := range layers {
		d := blob("application/vnd.oci.image.layer.v1.tar", l)
		descriptors, ids = append(descriptors, d), append(ids, d.Digest)
	}
	config := blob("application/vnd.oci.image.config.v1+json", text(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Cmd": append([]string{"/bin/sh"}, cmd...), "Env": []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}))
	manifest := blob("application/vnd.oci.image.manifest.v1+json", text(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": descriptors,
	}))
	manifest.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	out.file("oci-layout", `{"imageLayoutVersion": "1.0.0"}`)
	out.file("index.json", string(text(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})))
	must(t, os.WriteFile(to, out.bytes(), 0o644))
}

// chainID is the name of the snapshot of all layers.
func chainID(layers [][]byte) string {
	id := ""
	for _, l := range layers {
		diff := fmt.Sprintf("sha256:%x", sha256.Sum256(l))
		if id == "" {
			id = diff
		} else {
			id = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id+" "+diff)))
		}
	}
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
