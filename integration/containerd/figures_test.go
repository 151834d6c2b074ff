package containerd

import (
	"archive/tar"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/plyfs/plyfs/integration/harness"
	"github.com/plyfs/plyfs/integration/tables"
	"golang.org/x/sys/unix"
)

// compared are the snapshotters that are measured, in the order of the table.
var compared = []string{"overlayfs", "fuse-overlayfs", "plyfs"}

// TestFigures measures beside containerd's overlayfs snapshotter and
// containerd-fuse-overlayfs-grpc, on one containerd, one after the other in
// turns. It runs where PLYFS_FIGURES is set (make bench-snapshotter): to the
// document whose table it writes, or to anything else to print only.
func TestFigures(t *testing.T) {
	to := os.Getenv("PLYFS_FIGURES")
	if to == "" {
		t.Skip("PLYFS_FIGURES is not set")
	}
	peer := harness.Cached(t, "fuse-overlayfs-snapshotter-2.1.7", peerFromModules)
	s := newStand(t, modern, func(s *stand) {
		p := s.start("peer", s.command(peer+"/containerd-fuse-overlayfs-grpc", s.path("f.sock"), s.path("fuse-overlayfs")))
		t.Cleanup(func() { p.end(unix.SIGTERM) })
		// It collects when it is told to: it knows nothing of what is asked for
		// behind its back.
		s.more = fmt.Sprintf("[proxy_plugins.fuse-overlayfs]\n  type = \"snapshot\"\n  address = %q\n", s.path("f.sock")) +
			"[plugins.\"io.containerd.gc.v1.scheduler\"]\n  deletion_threshold = 0\n  mutation_threshold = 100000000\n"
		s.peerPID = p.cmd.Process.Pid
		s.metrics = freeAddress(t)
		s.logLevel = "info" // as it runs elsewhere: a line for each call is dearer than Usage
	})
	f := &figures{stand: s}
	f.unpack()
	parent := f.containers()
	f.calls(parent)
	text := f.table()
	t.Log("\n" + text)
	for _, sn := range compared {
		s.quiet("snapshot", "--snapshotter", sn, "rm", "c-"+sn)
	}
	s.ctr("image", "rm", "--sync", image)
	if _, err := os.Stat(to); err == nil {
		must(t, tables.Rewrite(to, "snapshotter", text))
	}
}

// unpack is the unpacking of an image of 10 layers with 400 MB.
func (f *figures) unpack() {
	layers := testLayers(f.t)[:1]
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for n := range 9 {
		l := newLayer(f.t)
		for i := range 44 {
			l.file(fmt.Sprintf("big/%d/%d", n, i), string(data))
		}
		layers = append(layers, l.bytes())
	}
	archive(f.t, f.path("big.tar"), "docker.io/library/big:test", layers)
	f.turns("unpack of 10 layers, 400 MB", 3, func(sn string, _ int) func() {
		return func() {
			f.ctr("image", "import", "--local", "--snapshotter", sn, f.path("big.tar"))
		}
	}, func(string, int) {
		f.ctr("image", "rm", "--sync", "docker.io/library/big:test")
		unix.Sync() // the next one doesn't wait for this one's data
	})
	must(f.t, os.Remove(f.path("big.tar")))
}

// containers is what ctr does with containers of an image of 50,000 files, and
// gives its chain id.
func (f *figures) containers() string {
	layers := testLayers(f.t)[:1]
	small := newLayer(f.t)
	for d := range 500 {
		small.add(tar.Header{Name: fmt.Sprintf("small/%d/", d), Typeflag: tar.TypeDir, Mode: 0o755}, "")
		for n := range 100 {
			small.file(fmt.Sprintf("small/%d/%d", d, n), "some text\n")
		}
	}
	layers = append(layers, small.bytes())
	archive(f.t, f.path("small.tar"), image, layers)
	for _, sn := range compared {
		f.ctr("image", "import", "--local", "--snapshotter", sn, f.path("small.tar"))
		f.ctr("run", "--rm", "--snapshotter", sn, image, "first-"+sn, "true")
	}
	unix.Sync()
	f.turns("`ctr run` of a second container", 9, func(sn string, i int) func() {
		return func() {
			f.ctr("run", "--rm", "--snapshotter", sn, image, fmt.Sprintf("r-%s-%d", sn, i), "true")
		}
	}, nil)
	f.turns("… that lists the image's 50,000 files", 3, func(sn string, i int) func() {
		return func() {
			f.ctr("run", "--rm", "--snapshotter", sn, image, fmt.Sprintf("l-%s-%d", sn, i), "sh", "-c", "find / -xdev >/dev/null")
		}
	}, nil)
	for _, sn := range compared {
		f.ctr("run", "-d", "--snapshotter", sn, image, "c-"+sn, "sleep", "100000")
		f.ctr("task", "exec", "--exec-id", "e", "c-"+sn, "sh", "-c", "for d in 0 1 2 3 4 5 6 7 8 9; do for f in /small/$d/*; do echo changed >$f; done; done; sync")
	}
	f.turns("commit of 1,000 changed files of 50,000", 2, func(sn string, _ int) func() {
		script := fmt.Sprintf("%s/ctr -a %s snapshot --snapshotter %s diff c-%s >/dev/null", f.bin, f.path("c.sock"), sn, sn)
		return func() {
			if out, err := f.command("sh", "-euc", script).CombinedOutput(); err != nil {
				f.t.Errorf("%v: %s", err, out)
			}
		}
	}, nil)
	f.sweep()
	return chainID(layers)
}

// turns measures what do prepares for each snapshotter, n times in turns; after
// is not measured.
func (f *figures) turns(what string, n int, do func(sn string, i int) func(), after func(sn string, i int)) {
	for i := range n {
		for _, sn := range compared {
			fn := do(sn, i)
			begin := time.Now()
			fn()
			f.add(what, sn, milliseconds, float64(time.Since(begin).Microseconds())/1000)
			if after != nil {
				after(sn, i)
			}
		}
	}
}
