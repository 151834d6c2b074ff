package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// sockets are where a snapshotter is asked, so that each call is one gRPC call.
func (f *figures) socket(sn string) string {
	return f.path(map[string]string{"overlayfs": "c.sock", "fuse-overlayfs": "f.sock", "plyfs": "p.sock"}[sn])
}

// calls measures calls to the snapshotters themselves: on a container's parent,
// and on a chain of 128 layers.
func (f *figures) calls(parent string) {
	ctx := namespaces.WithNamespace(context.Background(), f.namespace())
	sns := map[string]snapshots.Snapshotter{}
	for _, name := range compared {
		conn, err := grpc.NewClient("unix://"+f.socket(name), grpc.WithTransportCredentials(insecure.NewCredentials()))
		must(f.t, err)
		defer conn.Close()
		sns[name] = proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name)
	}
	f.usage(ctx, sns, parent)
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
// it one after the other, and 16 at a time.
func (f *figures) usage(ctx context.Context, sns map[string]snapshots.Snapshotter, parent string) {
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
	thousand := func(sn string, workers int) func() {
		return func() {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w; i < 1000; i += workers {
						if _, err := sns[sn].Usage(ctx, fmt.Sprint("usage-", i%actives)); err != nil {
							f.t.Error(err)
						}
					}
				})
			}
			wg.Wait()
		}
	}
	f.turns("Usage of 1,000 snapshots, one call after the other", 3, func(sn string, _ int) func() { return thousand(sn, 1) }, nil)
	f.turns("… 16 calls at a time", 3, func(sn string, _ int) func() { return thousand(sn, 16) }, nil)
	for _, sn := range sns {
		for i := range actives {
			must(f.t, sn.Remove(ctx, fmt.Sprint("usage-", i)))
		}
	}
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
		for _, pid := range f.servers() {
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
