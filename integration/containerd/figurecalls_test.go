package containerd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// sockets are where a snapshotter is asked, so that each call is one gRPC call.
func (f *figures) socket(sn string) string {
	return f.path(map[string]string{"overlayfs": "c.sock", "fuse-overlayfs": "f.sock", "plyfs": "p.sock"}[sn])
}

// calls measures calls to the snapshotters themselves: on a container's parent,
// and on a chain of 128 layers.
func (f *figures) calls(parent string) {
	ctx := namespaces.WithNamespace(context.Background(), f.namespace())
	sns, conns := map[string]snapshots.Snapshotter{}, map[string]*grpc.ClientConn{}
	for _, name := range compared {
		conn, err := grpc.NewClient("unix://"+f.socket(name), grpc.WithTransportCredentials(insecure.NewCredentials()))
		must(f.t, err)
		defer conn.Close()
		conns[name] = conn
		sns[name] = proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name)
	}
	f.usage(ctx, sns, conns, parent)
	f.deepChain(ctx, sns)
	f.memory(ctx, sns, parent)
}

// keep has containerd's collector leave a snapshot alone.
var keep = snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "figures"})

// find is the name by which a snapshotter knows a chain.
func (f *figures) find(ctx context.Context, sn snapshots.Snapshotter, chain string) (name string) {
	must(f.t, sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if strings.HasSuffix(info.Name, chain) {
			name = info.Name
		}
		return nil
	}))
	if name == "" {
		f.t.Fatalf("no snapshot %s", chain)
	}
	return name
}

// usage asks a thousand times: 50 snapshots with 100 files in each, as CRI does
// it one after the other, and 16 at a time. What gRPC itself takes is measured
// by calls of a service that there isn't, and what the snapshotter takes by our
// daemon's metrics.
func (f *figures) usage(ctx context.Context, sns map[string]snapshots.Snapshotter, conns map[string]*grpc.ClientConn, parent string) {
	const actives, files = 50, 100
	for _, sn := range sns {
		on := f.find(ctx, sn, parent)
		for i := range actives {
			m, err := sn.Prepare(ctx, fmt.Sprint("usage-", i), on, keep)
			must(f.t, err)
			for n := range files {
				must(f.t, os.WriteFile(fmt.Sprintf("%s/%d", writable(m), n), []byte("text"), 0o644))
			}
		}
	}
	thousand := func(workers int, call func(i int)) func() {
		return func() {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w; i < 1000; i += workers {
						call(i)
					}
				})
			}
			wg.Wait()
		}
	}
	for _, way := range []struct {
		workers           int
		usage, empty, own string
	}{
		{1, "Usage of 1,000 snapshots, one call after the other", "… 1,000 empty calls of gRPC", "… of that in plyfs"},
		{16, "… 16 calls at a time", "… 1,000 empty calls, 16 at a time", "… of that in plyfs, 16 at a time"},
	} {
		before := 0.
		f.turns(way.usage, 5, func(sn string, _ int) func() {
			before = f.spent("Usage")
			return thousand(way.workers, func(i int) {
				if _, err := sns[sn].Usage(ctx, fmt.Sprint("usage-", i%actives)); err != nil {
					f.t.Error(err)
				}
			})
		}, func(sn string, _ int) {
			if sn == "plyfs" {
				f.add(way.own, sn, milliseconds, f.spent("Usage")-before)
			}
		})
		f.turns(way.empty, 5, func(sn string, _ int) func() {
			return thousand(way.workers, func(int) {
				if err := conns[sn].Invoke(ctx, "/none/None", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
					f.t.Error(err)
				}
			})
		}, nil)
	}
	for _, sn := range sns {
		for i := range actives {
			must(f.t, sn.Remove(ctx, fmt.Sprint("usage-", i)))
		}
	}
}

// spent is how long our daemon has been in calls of a method, in milliseconds,
// by its own metrics.
func (f *figures) spent(method string) (ms float64) {
	res, err := http.Get("http://" + f.metrics + "/metrics")
	must(f.t, err)
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name == fmt.Sprintf("plyfs_snapshotter_call_seconds_sum{code=\"OK\",method=%q}", method) {
			s, err := strconv.ParseFloat(value, 64)
			must(f.t, err)
			ms = 1000 * s
		}
	}
	return ms
}

// freeAddress is one on which nothing listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// writable is where files of a snapshot can be written without mounting it.
func writable(m []mount.Mount) string {
	for _, o := range m[0].Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			return dir
		}
	}
	return m[0].Source
}

// deepChain is a container on 128 layers: Prepare and the mount of its answer.
func (f *figures) deepChain(ctx context.Context, sns map[string]snapshots.Snapshotter) {
	dir := f.path("deep")
	must(f.t, os.MkdirAll(dir, 0o755))
	for _, sn := range sns {
		chain := ""
		for i := range 128 {
			key := fmt.Sprint("new-", i)
			_, err := sn.Prepare(ctx, key, chain, snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "figures", "containerd.io/snapshot.ref": fmt.Sprint("layer-", i)}))
			must(f.t, err)
			chain = fmt.Sprint("chain-", i)
			must(f.t, sn.Commit(ctx, chain, key, keep))
		}
	}
	f.turns("mount on 128 layers", 9, func(sn string, _ int) func() {
		return func() {
			m, err := sns[sn].Prepare(ctx, "top", "chain-127", keep)
			must(f.t, err)
			must(f.t, mount.All(m, dir))
		}
	}, func(sn string, _ int) {
		must(f.t, mount.UnmountAll(dir, 0))
		must(f.t, sns[sn].Remove(ctx, "top"))
	})
	for _, sn := range sns {
		for i := 127; i >= 0; i-- {
			must(f.t, sn.Remove(ctx, fmt.Sprint("chain-", i)))
		}
	}
}

// memory is what the daemons and their servers take with 200 mounts.
func (f *figures) memory(ctx context.Context, sns map[string]snapshots.Snapshotter, parent string) {
	const mounts = 200
	for _, name := range compared[1:] { // the kernel has no process
		sn, on := sns[name], f.find(ctx, sns[name], parent)
		before := f.serverProcesses(name)
		begin := time.Now()
		for i := range mounts {
			m, err := sn.Prepare(ctx, fmt.Sprint("mount-", i), on, keep)
			must(f.t, err)
			dir := f.path(fmt.Sprintf("mounts/%d", i))
			must(f.t, os.MkdirAll(dir, 0o755))
			must(f.t, mount.All(m, dir))
		}
		f.add("Prepare and mount, of 200", name, milliseconds, float64(time.Since(begin).Milliseconds())/mounts)
		daemon := f.daemonP.cmd.Process.Pid
		if name == "fuse-overlayfs" {
			daemon = f.peerPID
		}
		f.add("memory of the daemon with 200 mounts", name, mebibytes, pss(daemon))
		total, n := 0.0, 0
		for pid := range f.serverProcesses(name) {
			if !before[pid] || name == "plyfs" {
				total, n = total+pss(pid), n+1
			}
		}
		f.add("memory of servers, each mount", name, mebibytes, total/mounts)
		f.add("server processes for 200 mounts", name, pieces, float64(n))
		for i := range mounts {
			must(f.t, mount.UnmountAll(f.path(fmt.Sprintf("mounts/%d", i)), unix.MNT_DETACH))
			must(f.t, sn.Remove(ctx, fmt.Sprint("mount-", i)))
		}
	}
}

// serverProcesses are those that serve mounts of a snapshotter of this stand.
func (f *figures) serverProcesses(sn string) map[int]bool {
	pids := map[int]bool{}
	if sn == "plyfs" {
		for _, pid := range f.processes("serve-mounts") {
			pids[pid] = true
		}
		return pids
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		text, _ := os.ReadFile(p + "/cmdline")
		program, _, _ := strings.Cut(string(text), "\x00")
		if filepath.Base(program) == "fuse-overlayfs" && strings.Contains(string(text), f.path("fuse-overlayfs")) {
			pid, _ := strconv.Atoi(filepath.Base(p))
			pids[pid] = true
		}
	}
	return pids
}

// pss is the memory of a process in MiB; what several share counts once in all.
func pss(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			return kib / 1024
		}
	}
	return 0
}
