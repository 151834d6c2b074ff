package images

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestMain lets the tests be plyfs-image, and has what unpacks run as root of
// a user namespace when the caller is nobody special.
func TestMain(m *testing.M) {
	if os.Getenv("PLYFS_TEST_MAIN") != "" {
		Main()
	}
	container.Boot(nil)
	if os.Geteuid() != 0 {
		code, _, err := container.WithUserRoot()
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestAsUser runs the other tests as the test user, with subordinate ids and
// with one id only.
func TestAsUser(t *testing.T) {
	if text, _ := os.ReadFile("/proc/self/uid_map"); !strings.Contains(string(text), "4294967295") {
		t.Skip("this is the test user already")
	}
	u := require.User(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"subids": os.Getenv("PATH"), "single": ""} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/var/tmp", "plyfs-images-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if out, err := exec.Command("sh", "-c", `install -m 755 "$1" "$2/images.test" && mkdir "$2/tmp" "$2/bin" && chown -R "$3" "$2"`,
				"sh", self, dir, u.Uid+":"+u.Gid).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if path == "" {
				path = filepath.Join(dir, "bin") // no newuidmap
			}
			setpriv, err := exec.LookPath("setpriv")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(setpriv, "--reuid", u.Uid, "--regid", u.Gid, "--init-groups", filepath.Join(dir, "images.test"),
				"-test.skip=^TestAsUser$|^TestReadBack$|^TestForeign$", "-test.timeout=3m")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir+"/tmp", "USER="+u.Username, "PATH="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// newShipper is one on an empty store.
func newShipper(t *testing.T) *ship.Shipper {
	t.Helper()
	s, err := ship.New(t.TempDir(), unpack)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// single says that the tests have one id only.
func single() bool {
	text, _ := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(text))
	return len(f) == 3 && f[2] == "1"
}

// inNamespace says that they are not root of the host.
func inNamespace() bool {
	text, _ := os.ReadFile("/proc/self/uid_map")
	return !strings.Contains(string(text), "4294967295")
}

// file is an entry of a tar archive; a regular file unless it says otherwise.
type file struct {
	tar.Header
	text string
}

func reg(name, text string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, text}
}

func dir(name string) file {
	return file{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, to string) file {
	return file{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, ""}
}

func hardlink(name, to string) file {
	return file{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to}, ""}
}

// made is the time of everything in archives of tests.
var made = time.Unix(1_600_000_000, 0)

// tarOf is an archive.
func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.Header
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(f.text))
		}
		if h.ModTime.IsZero() {
			h.ModTime = made
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	return b.Bytes()
}

// layers are the trees of an image, the top first.
func layerDirs(t *testing.T, s *ship.Shipper, ref string) []string {
	t.Helper()
	r, err := s.Store.Runnable(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r.Dirs
}
