package containerd

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

// podmanFiles keep podman away from what a test machine may lack, as those of
// integration/podman do.
const podmanFiles = `mkdir -p $D
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' $D $D >$D/storage.conf
printf '[containers]\nnetns = "host"\ncgroupns = "host"\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nlog_driver = "k8s-file"\ndefault_sysctls = []\n' >$D/containers.conf
printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\nlock_type = "file"\ntmp_dir = "%s/t"\n' $D >>$D/containers.conf`

// TestImageFigures measures images beside podman and containerd, interleaved, and
// prints the medians of time and of processor time (with what containerd does for
// ctr).
func TestImageFigures(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("PLYFS_FIGURES"))
	if rounds < 1 {
		t.Skip("make bench-images measures")
	}
	require.Tool(t, "podman")
	s := newStand(t, debian16)
	w := s.user.Dir(t)
	env := append(os.Environ(), "PATH="+filepath.Dir(harness.Build(t, "./cmd/plyfs-image"))+":"+os.Getenv("PATH"), "PLYFS_ROOT="+w+"/store",
		"D="+w+"/podman", "CONTAINERS_STORAGE_CONF="+w+"/podman/storage.conf", "CONTAINERS_CONF="+w+"/podman/containers.conf",
		"W="+w, "P="+harness.Binary(t), "CTR="+s.bin+"/ctr -a "+s.path("c.sock")+" -n figures")
	took := map[string][2][]time.Duration{}
	var order []string
	run := func(row, script string) {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
		cmd.Env = env
		before, begin := s.busy(), time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		wall, cpu := time.Since(begin), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()+s.busy()-before
		if row != "" {
			v, ok := took[row]
			if !ok {
				order = append(order, row)
			}
			t.Logf("%s: %.2f s, %.2f s busy", row, wall.Seconds(), cpu.Seconds())
			took[row] = [2][]time.Duration{append(v[0], wall), append(v[1], cpu)}
		}
	}
	run("", podmanFiles)
	t.Cleanup(func() { run("", "podman rm -af; podman rmi -af; $P rm -f many || true") })
	bigImage(t, w+"/big.tar", 10, 2800, 16<<10)
	bigImage(t, w+"/many.tar", 1, 50_000, 100)
	for range rounds {
		for _, c := range [][2]string{
			{"plyfs", "$P load -q -i $W/big.tar"},
			{"podman", "podman load -q -i $W/big.tar"},
			{"ctr", "$CTR image import --snapshotter overlayfs $W/big.tar"},
		} {
			unix.Sync()
			run("load 450 MB, "+c[0], c[1])
		}
		run("", "$P image prune -a -f; podman rmi -af; $CTR image rm --sync $($CTR image ls -q)")
	}
	run("", "$P load -q -i $W/many.tar; podman load -q -i $W/many.tar")
	for range 2*rounds - 1 {
		for _, cold := range []string{"warm", "cold"} {
			for _, c := range [][2]string{
				{"plyfs", "$P run --rm --net host localhost/big:1 /bin/busybox true"}, {"podman", "podman run --rm localhost/big:1 /bin/busybox true"},
			} {
				if cold == "cold" {
					unix.Sync()
					must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o600))
				}
				run("run, "+cold+", "+c[0], c[1])
			}
		}
	}
	change := ` --name many localhost/big:1 /bin/busybox sh -c 'cd /data/0; i=0; while [ $i -lt 1000 ]; do echo changed >f$((i*50)); i=$((i+1)); done'`
	run("", "$P run --net host"+change+"; podman run"+change)
	for range rounds {
		run("commit 1,000 of 50,000, plyfs", "$P commit many local/made")
		run("commit 1,000 of 50,000, podman", "podman commit -q many local/made")
	}
	for _, row := range order {
		fmt.Printf("| %-32s | %8.3f s | %8.3f s busy |\n", row, median(took[row][0]).Seconds(), median(took[row][1]).Seconds())
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// busy is the processor time of containerd.
func (s *stand) busy() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.containerdP.cmd.Process.Pid))
	must(s.t, err)
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(f[11], &user)
	_, _ = fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// bigImage writes what docker saves: layers of so many files, of words that
// compress as text does, and in the lowest one busybox.
func bigImage(t *testing.T, to string, layers, files, size int) {
	t.Helper()
	f, err := os.Create(to)
	must(t, err)
	defer f.Close()
	out := tar.NewWriter(f)
	put := func(w *tar.Writer, name string, mode int64, data []byte) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: longAgo}))
		_, err := w.Write(data)
		must(t, err)
	}
	box, err := exec.LookPath("busybox")
	must(t, err)
	busybox, err := os.ReadFile(box)
	must(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", r.Uint32()>>(r.UintN(5)*4))
	}
	var diffs, names []string
	for l := range layers {
		var b strings.Builder
		h := sha256.New()
		w := tar.NewWriter(io.MultiWriter(&b, h))
		if l == 0 {
			put(w, "bin/busybox", 0o755, busybox)
		}
		for i := range files {
			data := make([]byte, 0, size+16)
			for len(data) < size {
				data = append(data, words[r.UintN(uint(len(words)))]...)
			}
			put(w, fmt.Sprintf("data/%d/f%d", l, i), 0o644, data)
		}
		must(t, w.Close())
		names = append(names, fmt.Sprintf("%d/layer.tar", l))
		diffs = append(diffs, fmt.Sprintf("sha256:%x", h.Sum(nil)))
		put(out, names[l], 0o644, []byte(b.String()))
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		must(t, err)
		return b
	}
	put(out, "config.json", 0o644, text(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	}))
	put(out, "manifest.json", 0o644, text([]any{map[string]any{"Config": "config.json", "RepoTags": []string{"localhost/big:1"}, "Layers": names}}))
	must(t, out.Close())
}
