package containerd

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// TestFigures measures beside containerd's overlayfs snapshotter, one after the
// other in turns, and prints. It runs where PLYFS_FIGURES is set.
func TestFigures(t *testing.T) {
	if os.Getenv("PLYFS_FIGURES") == "" {
		t.Skip("PLYFS_FIGURES is not set")
	}
	s := newStand(t, modern)
	both := []string{"overlayfs", "plyfs"}
	turns := func(what string, n int, fn func(snapshotter string, i int)) {
		times := map[string][]time.Duration{}
		for i := range n {
			for _, sn := range both {
				begin := time.Now()
				fn(sn, i)
				times[sn] = append(times[sn], time.Since(begin))
			}
		}
		for _, sn := range both {
			slices.Sort(times[sn])
			t.Logf("%s, %s: median %v of %v", what, sn, times[sn][n/2].Round(time.Millisecond), times[sn])
		}
	}

	// 10 layers of 40 MB, and one of 50,000 small files.
	layers := testLayers(t)[:1]
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for n := range 9 {
		l := newLayer(t)
		for i := range 44 {
			l.file(fmt.Sprintf("big/%d/%d", n, i), string(data))
		}
		layers = append(layers, l.bytes())
	}
	archive(t, s.path("big.tar"), "docker.io/library/big:test", layers)
	turns("unpack of 10 layers, 400 MB", 3, func(sn string, _ int) {
		s.ctr("image", "import", "--local", "--snapshotter", sn, s.path("big.tar"))
		s.ctr("image", "rm", "--sync", "docker.io/library/big:test")
	})
	must(t, os.Remove(s.path("big.tar")))

	small := newLayer(t)
	for d := range 500 {
		small.add(tar.Header{Name: fmt.Sprintf("small/%d/", d), Typeflag: tar.TypeDir, Mode: 0o755}, "")
		for f := range 100 {
			small.file(fmt.Sprintf("small/%d/%d", d, f), "some text\n")
		}
	}
	layers = append(layers[:1], small.bytes())
	archive(t, s.path("small.tar"), image, layers)
	for _, sn := range both {
		s.ctr("image", "import", "--local", "--snapshotter", sn, s.path("small.tar"))
	}
	turns("second container", 7, func(sn string, i int) {
		s.ctr("run", "--rm", "--snapshotter", sn, image, fmt.Sprintf("r-%s-%d", sn, i), "true")
	})
	for _, sn := range both {
		s.ctr("run", "-d", "--snapshotter", sn, image, "c-"+sn, "sleep", "100000")
		s.ctr("task", "exec", "--exec-id", "e", "c-"+sn, "sh", "-c", "for d in 0 1 2 3 4 5 6 7 8 9; do for f in /small/$d/*; do echo changed >$f; done; done; sync")
	}
	turns("diff of 1,000 changed files of 50,000", 3, func(sn string, _ int) {
		script := fmt.Sprintf("%s/ctr -a %s snapshot --snapshotter %s diff c-%s >/dev/null", s.bin, s.path("c.sock"), sn, sn)
		if out, err := s.command("sh", "-euc", script).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	s.daemonFigures(chainID(layers))
	s.sweep()
	for _, sn := range both {
		s.quiet("snapshot", "--snapshotter", sn, "rm", "c-"+sn)
	}
	s.ctr("image", "rm", "--sync", image)
}

// daemonFigures are those of calls to the daemon itself.
func (s *stand) daemonFigures(parent string) {
	// containerd would collect what it doesn't know of.
	s.containerdP.end(unix.SIGTERM)
	defer s.startContainerd()
	conn, err := grpc.NewClient("unix://"+s.path("p.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(s.t, err)
	defer conn.Close()
	sn, ctx := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "plyfs"), context.Background()
	name := ""
	must(s.t, sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if strings.HasSuffix(info.Name, parent) {
			name = info.Name
		}
		return nil
	}))
	var keys []string
	begin := time.Now()
	for i := range 200 {
		key := fmt.Sprintf("figure-%d", i)
		_, err := sn.Prepare(ctx, key, name)
		must(s.t, err)
		keys = append(keys, key)
	}
	s.t.Logf("Prepare with its mount: %v each", time.Since(begin)/200)
	s.t.Logf("daemon with 200 mounts: %s", rss(s.daemonP.cmd.Process.Pid))
	for _, pid := range s.servers() {
		s.t.Logf("a server of up to 64 mounts: %s", rss(pid))
	}
	begin = time.Now()
	for range 5 {
		for _, key := range keys {
			_, err := sn.Usage(ctx, key)
			must(s.t, err)
		}
	}
	s.t.Logf("Usage of 1,000 snapshots: %v", time.Since(begin))
	for _, key := range keys {
		must(s.t, sn.Remove(ctx, key))
	}
	chain := ""
	for i := range 128 {
		_, err := sn.Prepare(ctx, "chain", chain)
		must(s.t, err)
		chain = fmt.Sprintf("chain-%d", i)
		must(s.t, sn.Commit(ctx, chain, "chain"))
	}
	begin = time.Now()
	_, err = sn.Prepare(ctx, "top", chain)
	must(s.t, err)
	s.t.Logf("Prepare on 128 layers with its mount: %v", time.Since(begin))
	must(s.t, sn.Remove(ctx, "top"))
	for i := 127; i >= 0; i-- {
		must(s.t, sn.Remove(ctx, fmt.Sprintf("chain-%d", i)))
	}
}

func rss(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "gone"
}
