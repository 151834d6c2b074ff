package fusefs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// helperEnv makes the test binary mount the directory that it names, run
// helperScript in it, and unmount: in another process, as another user or in a
// user namespace. The value is "user:DIR" or "ns:DIR".
const helperEnv = "PLYFS_FUSEFS_HELPER"

// helperScript uses the mount that is its working directory.
const helperScript = `set -e
test "$(cat file)" = "hello, world"
test "$(readlink link)" = file
ls -la . dir >/dev/null
echo more >new; test "$(cat new)" = more
mkdir sub; rmdir sub; rm new
test ! -e new
`

func TestMain(m *testing.M) {
	if v := os.Getenv(helperEnv); v != "" {
		if err := helper(v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func helper(v string) error {
	userNS := v[:3] == "ns:"
	dir := v[3:]
	if !userNS {
		dir = v[5:]
	}
	o := &layer.Options{FSName: `a,b\c`, Suid: true}
	fd, err := Mount(dir, o, userNS)
	if err != nil {
		return err
	}
	tree := newFakeTree()
	if uid := os.Geteuid(); uid != 0 {
		for _, n := range tree.nodes {
			n.attr.UID, n.attr.GID = uint32(uid), uint32(os.Getegid())
		}
	}
	s := NewServer(fd, tree, Config{Options: o, UserNS: userNS})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	if err := s.WaitReady(); err != nil {
		return err
	}
	// Another process uses the mount: this one would risk to wait for itself.
	sh := exec.Command("sh", "-c", "cd "+dir+" && "+helperScript)
	out, err := sh.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("script: %w: %s", err, out)
	}
	grep, _ := exec.Command("grep", " "+dir+" ", "/proc/self/mountinfo").Output()
	fmt.Printf("%s", grep)
	if uerr := Unmount(dir); uerr != nil {
		return fmt.Errorf("%w; %w", err, uerr)
	}
	if serr := <-ended; serr != nil {
		return serr
	}
	return err
}
