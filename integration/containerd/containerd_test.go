package containerd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

const image = "docker.io/library/five:test"

// TestDebian is containerd 1.6.
func TestDebian(t *testing.T) { life(newStand(t, debian16)) }

// Test17 is the last containerd 1.
func Test17(t *testing.T) { life(newStand(t, modules17)) }

// TestModern is the newest containerd.
func TestModern(t *testing.T) { life(newStand(t, modern)) }

// life is what happens to an image and its containers.
func life(s *stand) {
	layers := testLayers(s.t)
	s.importImage(layers)
	s.sameTree(chainID(layers))
	s.runs()
	s.container()
	s.looked()
	s.daemonDies()
	s.serverDies()
	s.remapped()
	s.ctr("snapshot", "--snapshotter", "plyfs", "rm", "committed")
	s.ctr("image", "rm", "--sync", image)
	s.nothingLeft()
}

func (s *stand) importImage(layers [][]byte) {
	s.t.Helper()
	file := s.path("image.tar")
	archive(s.t, file, image, layers)
	ours := []string{"image", "import", "--snapshotter", "plyfs"}
	if s.release == one7 {
		ours = append(ours, "--local=false") // the transfer service, which is what is asked for by itself in 2
	}
	s.ctr(append(ours, file)...)
	args := []string{"image", "import", "--snapshotter", "overlayfs"}
	if s.release == two {
		args = append(args, "--local") // the transfer service unpacks for plyfs only
	}
	s.ctr(append(args, file)...)
	must(s.t, os.Remove(file))
}

// daemonLog is what our daemon has said so far.
func (s *stand) daemonLog() string {
	s.t.Helper()
	text, err := os.ReadFile(s.daemonP.log)
	must(s.t, err)
	return string(text)
}

// sameTree compares what our snapshotter and containerd's own make of the
// layers.
func (s *stand) sameTree(chain string) {
	s.t.Helper()
	var ours, theirs *treedump.Tree
	take := func(snapshotter string, to **treedump.Tree) {
		s.mounted(snapshotter, "view-"+snapshotter, chain, func(dir string) {
			var err error
			*to, err = treedump.Take(dir)
			must(s.t, err)
		})
	}
	take("plyfs", &ours)
	take("overlayfs", &theirs)
	if len(ours.Nodes) < 40 {
		s.t.Errorf("the image has %d names only", len(ours.Nodes))
	}
	for _, d := range treedump.Diff("plyfs", ours, "overlayfs", theirs, nil) {
		s.t.Error(d)
	}
}

// runs runs containers that end by themselves.
func (s *stand) runs() {
	s.t.Helper()
	out := s.ctr("run", "--rm", "--snapshotter", "plyfs", image, "r1", "sh", "-c",
		"cat d/stays top o/new becomes-file becomes-dir/in; ls d/goes o/hidden whole/f 2>/dev/null; echo x >d/new; rm d/hard; mv o oo; ls oo; stat -c %h d/hard2")
	if want := "changed\ntop\nnew\nnow a file\nin\nnew\n1\n"; out != want {
		s.t.Errorf("the container says %q, want %q", out, want)
	}
	if out := s.ctr("run", "--rm", "--snapshotter", "plyfs", image, "r2", "sh", "-c", "ls d/new d/hard oo 2>/dev/null; ls d/hard2"); out != "d/hard\nd/hard2\n" {
		s.t.Errorf("a second container sees the first: %q", out)
	}
}

// container starts one and looks at its snapshot while it runs.
func (s *stand) container() {
	s.t.Helper()
	s.ctr("run", "-d", "--snapshotter", "plyfs", image, "c1", "sleep", "100000")
	s.ctr("task", "exec", "--exec-id", "e1", "c1", "sh", "-c", "echo new >d/new; rm d/stays; dd if=/dev/zero of=big bs=1M count=3 2>/dev/null; mkdir m; mv whole m; sync")
	usage := s.ctr("snapshot", "--snapshotter", "plyfs", "usage", "c1")
	if !strings.Contains(usage, "3.0 MiB") {
		s.t.Errorf("usage: %s", usage)
	}
	diff := s.path("diff.tar.gz")
	script := fmt.Sprintf("%s/ctr -a %s snapshot --snapshotter plyfs diff c1 >%s", s.bin, s.path("c.sock"), diff)
	if out, err := s.command("sh", "-euc", script).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	if call := lineWith(s.daemonLog(), "method=Diff "); s.release != one6 && !strings.Contains(call, "error=<nil>") {
		s.t.Errorf("the diff was not made by our differ: %q", call)
	}
	names, err := s.command("tar", "-tf", diff).Output()
	must(s.t, err)
	must(s.t, os.Remove(diff))
	have := map[string]bool{}
	for n := range strings.Lines(string(names)) {
		have[strings.TrimPrefix(strings.TrimSpace(n), "./")] = true
	}
	for _, want := range []string{"d/new", "d/.wh.stays", "big", "m/", ".wh.whole", "m/whole/g"} {
		if !have[want] {
			s.t.Errorf("the diff has no %s:\n%s", want, names)
		}
	}
	for _, no := range []string{"top", "bin/busybox", "etc/passwd"} {
		if have[no] {
			s.t.Errorf("the diff has %s, which didn't change", no)
		}
	}
}

// looked has plyfs stats and trace look at the mount of a container.
func (s *stand) looked() {
	s.t.Helper()
	mount := strings.Fields(s.ctr("snapshot", "--snapshotter", "plyfs", "mounts", "/nowhere", "c1"))
	if len(mount) < 4 || mount[3][0] != '/' { // mount -t bind SOURCE …
		s.t.Fatalf("mounts: %q", mount)
	}
	script := `[ "$($BIN stats --no-stream -q $DIR/)" = $DIR ]
		$BIN trace -n 1 --op mkdir --path /seen $DIR/ & trace=$!
		while kill -0 $trace 2>/dev/null; do mkdir $DIR/seen; rmdir $DIR/seen; sleep 0.05; done
		wait $trace`
	cmd := s.command("timeout", "60", "sh", "-euc", script)
	cmd.Env = append(cmd.Env, "BIN="+harness.Binary(s.t), "DIR="+mount[3])
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), " mkdir MKDIR /seen = ok ") {
		s.t.Errorf("looking at %s: %v\n%s", mount[3], err, out)
	}
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// daemonDies kills our daemon; the container doesn't notice, and a new daemon
// has all that the old one had.
func (s *stand) daemonDies() {
	s.t.Helper()
	s.daemonP.end(unix.SIGKILL)
	exec := func(id, want string) {
		s.t.Helper()
		if out := s.ctr("task", "exec", "--exec-id", id, "c1", "sh", "-c", "echo "+id+" >>d/new; cat d/new"); out != want {
			s.t.Errorf("d/new: %q, want %q", out, want)
		}
	}
	exec("e2", "new\ne2\n")
	s.startDaemon()
	s.eventually("containerd finds the new daemon", func() bool {
		out, err := s.tryCtr("run", "--rm", "--snapshotter", "plyfs", image, "r3", "echo", "again")
		return err == nil && out == "again\n"
	})
	exec("e3", "new\ne2\ne3\n")
	s.ctr("task", "kill", "-s", "KILL", "c1")
	s.eventually("the task has ended", func() bool { return !strings.Contains(s.ctr("task", "ls"), "RUNNING") })
	s.ctr("task", "rm", "c1")
	// The same container again, with what it wrote.
	s.ctr("task", "start", "-d", "c1")
	exec("e4", "new\ne2\ne3\ne4\n")
}

// serverDies kills the process that serves the mounts: the container notices
// nothing. Without a keeper it gets errors, can be removed, and started anew.
func (s *stand) serverDies() {
	s.t.Helper()
	for range 3 {
		for _, pid := range s.processes("serve-mounts") {
			must(s.t, unix.Kill(pid, unix.SIGKILL))
		}
		if out := s.ctr("task", "exec", "--exec-id", "kept", "c1", "sh", "-c", "echo x >d/gone; rm d/gone; cat d/new"); out != "new\ne2\ne3\ne4\n" {
			s.t.Errorf("after the death of a server that is kept: %q", out)
		}
	}
	for _, verb := range []string{"keep-mounts", "serve-mounts"} {
		for _, pid := range s.processes(verb) {
			must(s.t, unix.Kill(pid, unix.SIGKILL))
		}
	}
	s.ctr("task", "kill", "-s", "KILL", "c1")
	s.eventually("the task has ended", func() bool { return !strings.Contains(s.ctr("task", "ls"), "RUNNING") })
	s.eventually("the task can be removed", func() bool {
		_, err := s.tryCtr("task", "rm", "c1")
		return err == nil || !strings.Contains(s.ctr("task", "ls"), "c1")
	})
	s.eventually("the container starts again", func() bool {
		_, err := s.tryCtr("task", "start", "-d", "c1")
		return err == nil
	})
	if out := s.ctr("task", "exec", "--exec-id", "e5", "c1", "sh", "-c", "cat d/new; ls m"); out != "new\ne2\ne3\ne4\nwhole\n" {
		s.t.Errorf("after the server's death: %q", out)
	}
	s.ctr("task", "kill", "-s", "KILL", "c1")
	s.eventually("the task has ended", func() bool { return !strings.Contains(s.ctr("task", "ls"), "RUNNING") })
	s.ctr("task", "rm", "c1")

	// What it has written becomes a layer, and is one.
	s.ctr("snapshot", "--snapshotter", "plyfs", "commit", "committed", "c1")
	s.mounted("plyfs", "of-committed", "committed", func(dir string) {
		out, err := s.command("sh", "-c", "cd "+dir+"/d; cat new; ls stays").Output()
		if string(out) != "new\ne2\ne3\ne4\n" {
			s.t.Errorf("committed: %q, %v", out, err)
		}
	})
	s.ctr("container", "rm", "c1")
}

// processes are those of this stand that the daemon has left running for this.
func (s *stand) processes(verb string) (pids []int) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		cmdline, _ := os.ReadFile(p + "/cmdline")
		cwd, _ := os.ReadFile(p + "/environ")
		if strings.HasSuffix(string(cmdline), "\x00"+verb+"\x00") && strings.Contains(string(cwd), s.user.Home(s.t)) {
			var pid int
			_, _ = fmt.Sscan(filepath.Base(p), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// remapped runs a container in a user namespace.
func (s *stand) remapped() {
	s.t.Helper()
	if s.release == one6 {
		return // 1.6 takes one map, and no capability: it would chown a copy
	}
	out := s.ctr("run", "--rm", "--snapshotter", "plyfs", "--remap-labels", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536",
		image, "u1", "sh", "-c", "stat -c '%u %g' / d/owned; echo x >d/new; stat -c %u d/new; id -u")
	if want := "0 0\n1000 1001\n0\n0\n"; out != want {
		s.t.Errorf("in a user namespace: %q, want %q", out, want)
	}
	names, err := filepath.Glob(s.path("plyfs/snapshots/*/fs/bin/busybox"))
	must(s.t, err)
	if len(names) != 1 {
		s.t.Errorf("busybox is there %d times: the image was copied", len(names))
	}
}

func stem(e os.DirEntry) string { return strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())) }

// nothingLeft waits until all is gone with the images.
func (s *stand) nothingLeft() {
	s.t.Helper()
	for _, dir := range []string{"plyfs/snapshots", "plyfs/trash", "p/m", "p/s"} {
		s.eventually(dir+" is empty", func() bool {
			left, err := os.ReadDir(s.path(dir))
			// One server waits for what comes: its socket, and its number beside it.
			left = slices.DeleteFunc(left, func(e os.DirEntry) bool { return e.Name() == "keeper" }) // of that server
			return err == nil && (len(left) == 0 || dir == "p/s" && len(left) <= 2 && stem(left[0]) == stem(left[len(left)-1]))
		})
	}
	if out := s.ctr("snapshot", "--snapshotter", "plyfs", "ls"); strings.Count(strings.TrimSpace(out), "\n") != 0 {
		s.t.Errorf("snapshots are left:\n%s", out)
	}
}
