package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestForeign loads images of two layers that buildah and umoci made, in each
// form that they write, and looks at the files that show.
func TestForeign(t *testing.T) {
	require.Root(t)
	for _, tool := range []string{"buildah", "umoci"} {
		require.Tool(t, tool)
	}
	work := t.TempDir()
	script := `cd "$1"; export HOME=$PWD
mkdir -p one/etc one/bin one/old two/etc
echo first >one/etc/conf; echo gone >one/etc/gone; echo x >one/old/a; echo tool >one/bin/tool; ln one/bin/tool one/bin/also; ln -s tool one/bin/link; mkfifo one/fifo
chown 12:34 one/etc/conf; chmod 4711 one/bin/tool; setcap cap_net_raw+ep one/bin/tool || true; setfattr -n user.note -v n one/bin/tool
echo second >two/etc/conf; echo new >two/etc/new
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >policy.json
b() { buildah --root "$PWD/store" --runroot "$PWD/run" --storage-driver vfs "$@"; }
c=$(b from --signature-policy policy.json scratch)
b copy -q $c one / >/dev/null; b config --cmd /bin/tool --env A=1 --label l=v $c
b commit -q --signature-policy policy.json --format oci $c base >/dev/null; b rm $c >/dev/null
c=$(b from --signature-policy policy.json --pull-never base)
m=$(b mount $c); rm -r "$m/etc/gone" "$m/old"; cp two/etc/* "$m/etc/"; b umount $c >/dev/null
b commit -q --signature-policy policy.json --format oci $c two >/dev/null; b rm $c >/dev/null
b push -q --signature-policy policy.json two oci:oci:two
b push -q --signature-policy policy.json two oci-archive:oci.tar:two
b push -q --signature-policy policy.json --format v2s2 two docker-archive:docker.tar:two
b push -q --signature-policy policy.json --compression-format zstd two oci:zstd:two
b rmi -af >/dev/null
umoci init --layout umoci; umoci new --image umoci:two
umoci unpack --image umoci:two bundle; cp -a one/. bundle/rootfs/; umoci repack --image umoci:two bundle; rm -r bundle
umoci unpack --image umoci:two bundle; rm -r bundle/rootfs/etc/gone bundle/rootfs/old; cp two/etc/* bundle/rootfs/etc/
umoci repack --image umoci:two bundle; umoci config --image umoci:two --config.cmd /bin/tool --config.env A=1 --config.label l=v
`
	if out, err := exec.Command("sh", "-euc", script, "sh", work).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, from := range []string{"oci", "oci.tar", "docker.tar", "zstd", "umoci"} {
		t.Run(from, func(t *testing.T) {
			s := newShipper(t)
			list, err := s.Load(t.Context(), filepath.Join(work, from), "", ship.ThisPlatform())
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Store.Runnable(list[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if c := r.Config; len(c.Cmd) != 1 || c.Cmd[0] != "/bin/tool" || !strings.Contains(strings.Join(c.Env, " "), "A=1") || c.Labels["l"] != "v" {
				t.Errorf("configuration %+v", c)
			}
			if len(r.Dirs) < 2 {
				t.Fatalf("layers %v", r.Dirs)
			}
			mnt := t.TempDir()
			shows := func(script string) string {
				t.Helper()
				out, err := exec.Command("unshare", "-m", "sh", "-euc", `mount -t overlay -o "ro,lowerdir=$1" overlay "$2"; cd "$2"; `+script, "sh", strings.Join(r.Dirs, ":"), mnt).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return strings.TrimSpace(string(out))
			}
			want := "./bin\n./bin/also\n./bin/link\n./bin/tool\n./etc\n./etc/conf\n./etc/new\n./fifo"
			if got := shows(`find . -mindepth 1 | LC_ALL=C sort`); got != want {
				t.Errorf("files %q, want %q", got, want)
			}
			want = "second\nnew\ntool\n4711 0:0 2\nn\nbin/tool cap_net_raw=ep"
			if got := shows(`cat etc/conf etc/new bin/link; stat -c '%a %u:%g %h' bin/tool; getfattr --only-values -n user.note bin/tool; echo; getcap bin/tool`); got != want {
				t.Errorf("shown %q, want %q", got, want)
			}
			if faults, err := s.Check(false); err != nil || len(faults) > 0 {
				t.Errorf("%v, %v", faults, err)
			}
			out := filepath.Join(t.TempDir(), "again")
			if err := s.SaveDir(out, []string{list[0].ID}); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(out + "/index.json"); err != nil {
				t.Error(err)
			}
		})
	}
}
