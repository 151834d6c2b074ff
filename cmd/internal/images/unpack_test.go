package images

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// caps is CAP_NET_BIND_SERVICE, permitted and effective, in the form of version 2.
const caps = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func rich() []file {
	long := strings.Repeat("directory/", 25) + strings.Repeat("n", 120)
	return []file{
		{tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o3750, Uid: 7, Gid: 8}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: "d/owned", Mode: 0o640, Uid: 1000, Gid: 100}, "text"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "suid", Mode: 0o4755}, "#!"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "capable", Mode: 0o755, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": caps, "SCHILY.xattr.user.note": "n"}}, "x"},
		{tar.Header{Typeflag: tar.TypeLink, Name: "d/second", Linkname: "d/owned", Mode: 0o640, Uid: 1000, Gid: 100}, ""},
		symlink("dangling", "/no/where"),
		{tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600}, ""},
		{tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: long, Mode: 0o644, Format: tar.FormatGNU}, "long"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "umlaut-ä", Mode: 0o644, Format: tar.FormatPAX}, "u"},
	}
}

// TestUnpack: every kind of object and of compression, owners as they should
// be shown, in whichever way this user has to keep them.
func TestUnpack(t *testing.T) {
	long := strings.Repeat("directory/", 25) + strings.Repeat("n", 120)
	for _, kind := range []string{ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd} {
		t.Run(kind[strings.LastIndexByte(kind, '.')+1:], func(t *testing.T) {
			s := newShipper(t)
			b := newBuilder(t).layer(kind, tarOf(t, rich()...))
			list, err := s.Load(context.Background(), b.dir("x"), "", ship.ThisPlatform())
			if err != nil {
				t.Fatal(err)
			}
			if list[0].Virtual != single() {
				t.Errorf("virtual: %v", list[0].Virtual)
			}
			root := layerDirs(t, s, "x")[0]
			for path, want := range map[string]string{
				"d": "7:8:43750", "d/owned": "1000:100:100640", "d/second": "1000:100:100640", "suid": "0:0:104755", "capable": "0:0:100755",
				"fifo": "0:0:10600", "null": "0:0:20666", long: "0:0:100644", "umlaut-ä": "0:0:100644", "dangling": "0:0:120777",
			} {
				if got := shownAs(t, filepath.Join(root, path)); got != want {
					t.Errorf("%.40s is %s, want %s", path, got, want)
				}
			}
			var a, c unix.Stat_t
			if unix.Lstat(root+"/d/owned", &a) != nil || unix.Lstat(root+"/d/second", &c) != nil || a.Ino != c.Ino {
				t.Error("the hard link is none")
			}
			name := "security.capability"
			if inNamespace() {
				name = "user.containers.override_" + name // the layer has a device
			}
			if got := xattr(root+"/capable", name); got != caps {
				t.Errorf("capabilities %q", got)
			}
			if got := xattr(root+"/capable", "user.note"); got != "n" {
				t.Errorf("user.note is %q", got)
			}
		})
	}
}

// shownAs is uid:gid:mode as a union shows it.
func shownAs(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	o := dialect.Override{UID: st.Uid, GID: st.Gid, Mode: st.Mode}
	if kept, err := dialect.ParseOverride([]byte(xattr(path, dialect.OverrideUser))); err == nil {
		o = kept
	}
	return fmt.Sprintf("%d:%d:%o", o.UID, o.GID, o.Mode)
}

func xattr(path, name string) string {
	v := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, name, v)
	if err != nil {
		return ""
	}
	return string(v[:n])
}

// TestSparse: holes of an archive are holes on disk, in both of tar's forms.
func TestSparse(t *testing.T) {
	for _, form := range []string{"gnu", "posix"} {
		t.Run(form, func(t *testing.T) {
			tool, err := exec.LookPath("/usr/bin/tar") // this PATH may be empty
			if err != nil {
				require.Missing(t, "tar: %v", err)
			}
			src := t.TempDir()
			f, err := os.Create(filepath.Join(src, "sparse"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.WriteAt([]byte("begin"), 0)
			_, _ = f.WriteAt([]byte("end"), 64<<20)
			f.Close()
			plain, err := exec.Command(tool, "-C", src, "--format", form, "-S", "-cf", "-", "--owner=0", "--group=0", "sparse").Output()
			if err != nil {
				t.Fatal(err)
			}
			s := newShipper(t)
			if _, err := s.Load(context.Background(), newBuilder(t).layer(ocispec.MediaTypeImageLayer, plain).dir("x"), "", ship.ThisPlatform()); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(layerDirs(t, s, "x")[0], "sparse"), &st); err != nil {
				t.Fatal(err)
			}
			if st.Size != 64<<20+3 || st.Blocks*512 > 1<<20 {
				t.Errorf("%d bytes take %d on disk", st.Size, st.Blocks*512)
			}
		})
	}
}

// TestLayers: directories that a layer only implies look as below, deletions
// are in the form of the kernel, shared layers are there once.
func TestLayers(t *testing.T) {
	s := newShipper(t)
	base := file{tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o1711, Uid: 0}, ""}
	one := newBuilder(t).files(base, reg("d/gone", ""), dir("o"), reg("o/x", ""))
	one.files(reg("d/new", "1"), reg("d/.wh.gone", ""), reg("o/.wh..wh..opq", ""), reg("o/y", ""), reg("both", "z"), reg(".wh.both", ""))
	if _, err := s.Load(context.Background(), one.dir("one"), "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	two := newBuilder(t).files(base, reg("d/gone", ""), dir("o"), reg("o/x", "")).files(reg("other", ""))
	if _, err := s.Load(context.Background(), two.docker("two:2"), "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	top := layerDirs(t, s, "one")[0]
	var st unix.Stat_t
	if err := unix.Lstat(top+"/d", &st); err != nil || st.Mode&0o7777 != 0o1711 || !time0(st.Mtim) {
		t.Errorf("d: mode %o, time %v, %v", st.Mode, st.Mtim, err)
	}
	if err := unix.Lstat(top+"/d/gone", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("d/gone: %o %d, %v", st.Mode, st.Rdev, err)
	}
	name := "trusted.overlay.opaque"
	if inNamespace() {
		name = "user.overlay.opaque"
	}
	if xattr(top+"/o", name) != "y" {
		t.Error("o is not opaque")
	}
	if text, err := os.ReadFile(top + "/both"); err != nil || string(text) != "z" {
		t.Errorf("what a layer has itself was deleted: %q, %v", text, err)
	}
	a, b := layerDirs(t, s, "one"), layerDirs(t, s, "two:2")
	if a[1] != b[1] || a[0] == b[0] {
		t.Errorf("layers %v and %v", a, b)
	}
	for _, ref := range []string{"one", "two:2"} {
		e, err := s.Store.Find(ref)
		if err != nil {
			t.Fatal(err)
		}
		cfg, _ := s.ReadConfig(e)
		if e.Layers[0] != cfg.RootFS.DiffIDs[0].String() || !strings.Contains(top+b[0], e.Layers[1][7:]) {
			t.Errorf("chain ids %v", e.Layers)
		}
	}
	if _, err := s.Remove([]string{"one"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(a[0]); err == nil {
		t.Error("the layer of a removed image is there")
	}
	if _, err := os.Stat(b[1]); err != nil {
		t.Error("a layer went that another image has")
	}
	if _, err := s.Remove([]string{"two:2"}, false); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"layers", "blobs/sha256", "partial"} {
		if left, _ := os.ReadDir(filepath.Join(s.Store.Dir(), sub)); len(left) > 0 {
			t.Errorf("%s has %v", sub, left)
		}
	}
}

func time0(ts unix.Timespec) bool { return ts.Sec == made.Unix() }

// TestDamage: a blob that has changed is found, and nothing is made of it.
func TestDamage(t *testing.T) {
	s := newShipper(t)
	b := newBuilder(t).files(reg("f", "1"))
	layout := b.dir("x")
	list, err := s.Load(context.Background(), layout, "", ship.ThisPlatform())
	if err != nil {
		t.Fatal(err)
	}
	m := b.m.Layers[0].Digest.String()
	path, _ := s.Store.Blob(m)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if faults, err := s.Check(false); err != nil || len(faults) != 1 || !strings.Contains(faults[0].What, m) {
		t.Errorf("%+v, %v", faults, err)
	}
	if err := s.Save(new(strings.Builder), []string{"x"}); err == nil {
		t.Error("a damaged image was saved")
	}
	if faults, err := s.Check(true); err != nil || len(faults) != 1 || !faults[0].Removed {
		t.Errorf("%+v, %v", faults, err)
	}
	if _, err := s.Load(context.Background(), layout, "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	if faults, err := s.Check(false); err != nil || len(faults) > 0 {
		t.Errorf("%+v, %v", faults, err)
	}
	// A layer that is gone comes back from its blob.
	dir, _ := s.Store.Layer(list[0].Layers[0])
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.Runnable("x"); err == nil {
		t.Error("an image without its layer is runnable")
	}
	if err := s.Repair(context.Background(), "x"); err != nil {
		t.Fatal(err)
	}
	layerDirs(t, s, "x")
}

// TestKilled ends loads at failpoints: nothing half is visible, and the next
// one ends well.
func TestKilled(t *testing.T) {
	layout := newBuilder(t).files(reg("a", "1")).files(reg("b", "2")).dir("x")
	root := t.TempDir()
	load := func(point string) error {
		cmd := exec.Command("/proc/self/exe", "load", layout)
		cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+root, "PLYFS_FAIL="+point)
		out, err := cmd.CombinedOutput()
		if err != nil && point == "" {
			t.Errorf("%s", out)
		}
		return err
	}
	if err := load("image.unpacked:kill"); err == nil {
		t.Fatal("it was not killed")
	}
	s, err := ship.New(root, unpack)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := s.Store.List(); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := load(""); err != nil {
		t.Fatal(err)
	}
	layerDirs(t, s, "x")
	if r, err := s.Prune(false); err != nil || r.Bytes == 0 {
		t.Errorf("what was left of the killed one: %+v, %v", r, err)
	}
	for _, d := range []string{"layers", "partial"} {
		left, _ := filepath.Glob(filepath.Join(s.Store.Dir(), d, ".*"))
		if len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	var idx map[string]any
	text, err := os.ReadFile(filepath.Join(s.Store.Dir(), "index.json"))
	if err != nil || json.Unmarshal(text, &idx) != nil {
		t.Errorf("index.json: %v", err)
	}
}

// TestBoot: what was unpacked before the machine went down is unpacked again,
// unless somebody has waited for the disk since.
func TestBoot(t *testing.T) {
	s := newShipper(t)
	load := func(name string, files ...file) {
		t.Helper()
		if _, err := s.Load(context.Background(), newBuilder(t).files(files...).dir(name), "", ship.ThisPlatform()); err != nil {
			t.Fatal(err)
		}
	}
	load("old", reg("a", "1"))
	load("new", reg("b", "2"))
	replace := func(path string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(strings.ReplaceAll(string(text), image.BootID(), "another")), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	top := layerDirs(t, s, "new")[0]
	replace(filepath.Join(s.Store.Dir(), "index.json"))
	replace(filepath.Join(filepath.Dir(top), "info.json"))
	if err := os.WriteFile(filepath.Join(top, "b"), nil, 0o644); err != nil { // lost
		t.Fatal(err)
	}
	layerDirs(t, s, "old")
	if _, err := s.Store.Runnable("new"); err == nil {
		t.Error("what may be damaged is runnable")
	}
	if err := s.Repair(context.Background(), "new"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(layerDirs(t, s, "new")[0], "b")); err != nil || string(text) != "2" {
		t.Errorf("%q, %v", text, err)
	}
}
