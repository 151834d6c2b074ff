package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

// faulty is a registry that does what a test wants to blobs.
type faulty struct {
	*httptest.Server
	host string

	mu     sync.Mutex
	blob   func(n int, w http.ResponseWriter, r *http.Request) bool // n-th request for blobs; true: answered
	n      int
	ranges []string // of requests for blobs
	gets   []string // paths of blobs
	auth   string   // user:password
	token  string   // then this is what one gets for them, from /token
	asked  []string // what tokens were asked for
}

func newRegistry(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.token != "" && r.URL.Path != "/token" {
			if r.Header.Get("Authorization") != "Bearer "+f.token {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="test"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
		} else if f.auth != "" {
			if u, p, ok := r.BasicAuth(); !ok || u+":"+p != f.auth {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
		}
		if f.token != "" && r.URL.Path == "/token" {
			f.mu.Lock()
			f.asked = append(f.asked, r.URL.Query().Get("service")+" "+strings.Join(r.URL.Query()["scope"], " "))
			f.mu.Unlock()
			fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, f.token)
			return
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			f.mu.Lock()
			f.n++
			n, answer := f.n, f.blob
			f.ranges, f.gets = append(f.ranges, r.Header.Get("Range")), append(f.gets, r.URL.Path)
			f.mu.Unlock()
			if answer != nil && r.Context().Value(whole{}) == nil && answer(n, w, r) {
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	f.host = strings.TrimPrefix(f.URL, "http://")
	return f
}

// upload loads an image into a store of its own and pushes it.
func (f *faulty) upload(t *testing.T, b *builder, name string, r *ship.Remote) (digest string) {
	t.Helper()
	s := newShipper(t)
	if _, err := s.Load(context.Background(), b.dir("up"), "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	digest, err := s.Push(context.Background(), r, "up", ref(t, f.host+"/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func ref(t *testing.T, text string) image.Reference {
	t.Helper()
	r, err := image.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// threeLayers is an image whose layers don't compress.
func threeLayers(t *testing.T) *builder {
	b := newBuilder(t)
	for i := range 3 {
		x := uint32(i + 1)
		text := make([]byte, 300_000)
		for j := range text {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			text[j] = byte(x)
		}
		b.files(reg(fmt.Sprintf("f%d", i), string(text)))
	}
	return b
}

func TestPull(t *testing.T) {
	f := newRegistry(t)
	digest := f.upload(t, threeLayers(t), "some/thing:v1", &ship.Remote{})
	s := newShipper(t)
	for _, name := range []string{"some/thing:v1", "some/thing@" + digest} {
		e, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/"+name), ship.ThisPlatform())
		if err != nil {
			t.Fatal(err)
		}
		if e.Origin != digest || len(layerDirs(t, s, e.ID)) != 3 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if len(f.gets) != 4 { // the configuration, and three layers
		t.Errorf("blobs were asked for %d times: %v", len(f.gets), f.gets)
	}
	if _, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/some/thing:v2"), ship.ThisPlatform()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a tag that isn't there: %v", err)
	}
}

// TestPushDocker: what docker saves is not compressed, and is stored so; it is sent
// compressed, and the same each time. What came in a layout goes as it came.
func TestPushDocker(t *testing.T) {
	f := newRegistry(t)
	s := newShipper(t)
	b := newBuilder(t).layer(ocispec.MediaTypeImageLayer, tarOf(t, reg("a", strings.Repeat("text ", 10_000))))
	list, err := s.Load(context.Background(), b.docker("x:1"), "", ship.ThisPlatform())
	if err != nil {
		t.Fatal(err)
	}
	if size := blobSize(t, s, b.cfg.RootFS.DiffIDs[0].String()); size < 50_000 {
		t.Errorf("the layer is stored in %d bytes", size)
	}
	var sent []string
	for range 2 {
		d, err := s.Push(context.Background(), &ship.Remote{}, "x:1", ref(t, f.host+"/x:1"))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, d)
	}
	if sent[0] != sent[1] || sent[0] == list[0].Digest {
		t.Errorf("sent %v, stored %s", sent, list[0].Digest)
	}
	other := newShipper(t)
	e, err := other.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform())
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != list[0].ID || e.Digest != sent[0] {
		t.Errorf("%+v, want id %s, digest %s", e, list[0].ID, sent[0])
	}
	if u, err := other.Usage(); err != nil || u.Blobs > 20_000 {
		t.Errorf("%d bytes were sent, %v", u.Blobs, err)
	}
	layout := newBuilder(t).layer(ocispec.MediaTypeImageLayer, tarOf(t, reg("a", "1")))
	if list, err = s.Load(context.Background(), layout.dir("y"), "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Push(context.Background(), &ship.Remote{}, "y", ref(t, f.host+"/y:1")); err != nil || d != list[0].Digest {
		t.Errorf("sent %s, %v, want %s", d, err, list[0].Digest)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Store.Dir(), "partial", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func blobSize(t *testing.T, s *ship.Shipper, digest string) int64 {
	t.Helper()
	path, err := s.Store.Blob(digest)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestPullFaults has every request for a blob go wrong once, in one way.
func TestPullFaults(t *testing.T) {
	truncated := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "300000")
		_, _ = w.Write(make([]byte, 1000)) // and wrong, too
		panic(http.ErrAbortHandler)
	}
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"refused": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		},
		"too many": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "later", http.StatusTooManyRequests)
			return true
		},
		"cut":                 func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"truncated and wrong": truncated,
		"other bytes": func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, "something else")
			return true
		},
		"silent": func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newRegistry(t)
			f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
			seen := map[string]bool{}
			var mu sync.Mutex
			f.blob = func(_ int, w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				first := !seen[r.URL.Path]
				seen[r.URL.Path] = true
				mu.Unlock()
				return first && fault(w, r)
			}
			s := newShipper(t)
			remote := &ship.Remote{Stall: 300 * time.Millisecond, Pause: time.Millisecond}
			e, err := s.Pull(context.Background(), remote, ref(t, f.host+"/x:1"), ship.ThisPlatform())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(layerDirs(t, s, e.ID)); n != 3 {
				t.Errorf("%d layers", n)
			}
			if faults, err := s.Check(false); err != nil || len(faults) > 0 {
				t.Errorf("%v, %v", faults, err)
			}
		})
	}
}

// TestPullWrong: what doesn't have its digest is never used, however often it
// comes.
func TestPullWrong(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	f.blob = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = w.Write(make([]byte, 300_000))
		return true
	}
	s := newShipper(t)
	_, err := s.Pull(context.Background(), &ship.Remote{Pause: time.Millisecond}, ref(t, f.host+"/x:1"), ship.ThisPlatform())
	var wrong *ship.DigestError
	if !errors.As(err, &wrong) {
		t.Fatalf("error %v", err)
	}
	nothingNew(t, s)
}

// TestPullResumes: a pull that is stopped in the middle of layers goes on there.
func TestPullResumes(t *testing.T) {
	f := newRegistry(t)
	f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
	real := f.Server.Config.Handler
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	f.blob = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			return false
		}
		rec := httptest.NewRecorder()
		f.mu.Lock()
		f.blob = nil
		f.mu.Unlock()
		real.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		if len(body) < 100_000 { // the configuration
			_, _ = w.Write(body)
			return true
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:100_000])
		w.(http.Flusher).Flush()
		time.Sleep(100 * time.Millisecond)
		stop()
		<-r.Context().Done()
		return true
	}
	blob := f.blob
	f.blob = func(n int, w http.ResponseWriter, r *http.Request) bool {
		defer func() { f.mu.Lock(); f.blob = blob; f.mu.Unlock() }()
		return blob(n, w, r)
	}
	s := newShipper(t)
	if _, err := s.Pull(ctx, &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform()); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if list, err := s.Store.List(); err != nil || len(list) > 0 {
		t.Errorf("images %v, %v", list, err)
	}
	f.mu.Lock()
	f.blob, f.ranges = nil, nil
	f.mu.Unlock()
	if _, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	resumed := 0
	for _, r := range f.ranges {
		if strings.HasPrefix(r, "bytes=100000-") {
			resumed++
		}
	}
	if resumed == 0 {
		t.Errorf("no request goes on where the first pull ended: %q", f.ranges)
	}
	if faults, err := s.Check(false); err != nil || len(faults) > 0 {
		t.Errorf("%v, %v", faults, err)
	}
}

// TestPullAuth: credentials of docker and podman, given with each request or
// exchanged for a token, as the registry wants it.
func TestPullAuth(t *testing.T) {
	for _, token := range []string{"", "a-token"} {
		t.Run("token "+token, func(t *testing.T) {
			f := newRegistry(t)
			f.auth, f.token = "me:secret", token
			home := t.TempDir()
			cfg := fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"secret"}}}`, f.host)
			if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(cfg), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("DOCKER_CONFIG", home)
			t.Setenv("REGISTRY_AUTH_FILE", "")
			f.upload(t, threeLayers(t), "x:1", &ship.Remote{})
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			s := newShipper(t)
			if _, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform()); err == nil || !strings.Contains(err.Error(), "docker login") {
				t.Errorf("without credentials: %v", err)
			}
			t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(home, "config.json")) // podman's
			if _, err := s.Pull(context.Background(), &ship.Remote{}, ref(t, f.host+"/x:1"), ship.ThisPlatform()); err != nil {
				t.Errorf("with credentials of podman: %v", err)
			}
			asked := strings.Join(f.asked, "\n")
			if token != "" && (!strings.Contains(asked, "test repository:x:push,pull") || !strings.Contains(asked, "test repository:x:pull")) {
				t.Errorf("tokens were asked for: %s", asked)
			}
		})
	}
}

// TestMirror: mirrors are asked first, the registry itself when they fail.
func TestMirror(t *testing.T) {
	mirror, origin := newRegistry(t), newRegistry(t)
	anonymous := &ship.Remote{Keychain: authn.NewMultiKeychain()}
	mirror.upload(t, threeLayers(t), "cache/library/thing:latest", anonymous)
	origin.upload(t, threeLayers(t), "other:1", anonymous)
	r := &ship.Remote{Registries: map[string]ship.Registry{
		"docker.io": {Mirrors: []string{"http://" + mirror.host + "/cache"}},
		origin.host: {Mirrors: []string{"http://127.0.0.1:1/dead", "http://" + mirror.host}},
	}}
	s := newShipper(t)
	e, err := s.Pull(context.Background(), r, ref(t, "thing"), ship.ThisPlatform())
	if err != nil || e.Name != "docker.io/library/thing:latest" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Pull(context.Background(), r, ref(t, origin.host+"/other:1"), ship.ThisPlatform()); err != nil {
		t.Error(err)
	}
}
