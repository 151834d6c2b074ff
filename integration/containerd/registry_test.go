package containerd

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"testing"
)

// serveRegistry serves the one image of an archive, under every name, and
// gives the address. It is as much of the protocol as a pull needs.
func serveRegistry(t *testing.T, file string) string {
	t.Helper()
	blobs, index := readArchive(t, file)
	manifest := index.Manifests[0]
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		kind, ref := path.Base(path.Dir(r.URL.Path)), path.Base(r.URL.Path)
		if r.URL.Path == "/v2/" {
			return
		}
		if !strings.HasPrefix(ref, "sha256:") {
			ref = manifest.Digest
		}
		data, ok := blobs[strings.TrimPrefix(ref, "sha256:")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if kind == "manifests" {
			w.Header().Set("Content-Type", manifest.MediaType)
		}
		w.Header().Set("Docker-Content-Digest", ref)
		http.ServeContent(w, r, "", longAgo, strings.NewReader(data))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// index is index.json.
type index struct{ Manifests []descriptor }

// readArchive gives the blobs of an archive by their digests' hex digits.
func readArchive(t *testing.T, file string) (blobs map[string]string, ix index) {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	blobs = map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blobs, ix
		}
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		if h.Name == "index.json" {
			must(t, json.Unmarshal(data, &ix))
		}
		blobs[path.Base(h.Name)] = string(data)
	}
}

// TestParallelUnpack: layers that are unpacked beside each other, and put on
// their parents afterwards, keep their deletions. The capability "rebase" says
// so.
func TestParallelUnpack(t *testing.T) {
	s := newStand(t, modern)
	layers := testLayers(t)
	file := s.path("image.tar")
	archive(t, file, image, layers)
	name := serveRegistry(t, file) + "/five:test"
	s.ctr("image", "pull", "--plain-http", "--snapshotter", "plyfs", name)
	if !strings.Contains(s.daemonLog(), "rebased=true") {
		t.Error("no layer was unpacked beside others")
	}
	s.ctr("image", "import", "--local", "--snapshotter", "overlayfs", file)
	s.sameTree(chainID(layers))
	s.ctr("image", "rm", "--sync", name)
	s.ctr("image", "rm", "--sync", image)
	s.nothingLeft()
}
