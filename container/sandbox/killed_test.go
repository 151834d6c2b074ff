package sandbox

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
)

// applyEnv makes the test binary a commit: "HOST UPPER SINCE".
const applyEnv = "PLYFS_SANDBOX_APPLY"

func TestMain(m *testing.M) {
	if text := os.Getenv(applyEnv); text != "" {
		v := &View{Virtual: true, Protected: map[string]string{}}
		var host, upper string
		if _, err := fmt.Sscan(text, &host, &upper, &v.Since); err != nil {
			panic(err)
		}
		for dir, fd := range map[string]*int{host: &v.Host, upper: &v.Upper} {
			var err error
			if *fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				panic(err)
			}
		}
		passed := fail.Record()
		err := v.Recover()
		if err == nil {
			var list []Change
			if list, err = v.Changes(true); err == nil {
				var res *Result
				if res, err = v.Apply(list, false); err == nil && len(res.Failed) > 0 {
					err = res.Failed[0]
				}
			}
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(passed())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// everything makes a host and an upper with every kind of change.
func everything(t *testing.T) *box {
	b := newBox(t)
	for _, f := range []string{"changed", "mode", "gone", "tree/a", "tree/sub/b", "was-file", "was-dir/a", "was-dir/b", "merged/f", "shut/f", "linked"} {
		b.write(b.host, f, "old "+f)
	}
	b.must(os.Symlink("old", b.host+"/link"))
	b.must(os.Chmod(b.host+"/shut", 0o500))
	b.begin()
	b.write(b.upper, "changed", "new")
	b.based("changed")
	b.write(b.upper, "mode", "old mode")
	b.must(os.Chmod(b.upper+"/mode", 0o600))
	b.must(unix.Setxattr(b.upper+"/mode", "user.new", []byte("1"), 0))
	b.based("mode")
	b.whiteout("gone")
	b.whiteout("tree")
	b.must(os.Symlink("target", b.upper+"/was-dir"))
	b.write(b.upper, "was-file/f", "in it")
	b.must(os.Symlink("new", b.upper+"/link"))
	b.write(b.upper, "merged/g", "new")
	b.must(os.Chmod(b.upper+"/merged", 0o700))
	b.must(unix.Setxattr(b.upper+"/merged", "user.new", []byte("1"), 0))
	b.based("merged")
	b.write(b.upper, "shut/new", "in what is opened")
	b.must(os.Chmod(b.upper+"/shut", 0o750))
	b.based("shut")
	b.write(b.upper, "dir/x", "x")
	b.must(os.Link(b.upper+"/dir/x", b.upper+"/dir/y"))
	b.must(os.Chmod(b.upper+"/dir", 0o711))
	b.must(unix.Mkfifo(b.upper+"/fifo", 0o640))
	return b
}

// tree is what the host has, by path, without times.
func (b *box) tree() map[string]string {
	b.t.Helper()
	all := map[string]string{}
	first := map[uint64]string{}
	b.must(filepath.WalkDir(b.host, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		name, text := strings.TrimPrefix(p, b.host), fmt.Sprintf("%o", st.Mode)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			to, _ := os.Readlink(p)
			text += " " + to
		case unix.S_IFREG:
			data, _ := os.ReadFile(p)
			text += " " + string(data)
			if st.Nlink > 1 && first[st.Ino] == "" {
				first[st.Ino] = name
			}
			text += " " + first[st.Ino]
		}
		if n, _ := unix.Lgetxattr(p, "user.new", make([]byte, 8)); n > 0 && st.Mode&unix.S_IFMT != unix.S_IFLNK {
			text += " user.new"
		}
		all[name] = text
		return err
	}))
	return all
}

// commit runs one in a process, which is killed at a failpoint unless that is
// "", and gives what it passes.
func (b *box) commit(point string, n int) (passed map[string]int) {
	b.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", applyEnv, b.host, b.upper, b.v.Since))
	if point != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("PLYFS_FAIL=%s:kill:%d", point, n))
	}
	out, err := cmd.CombinedOutput()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); point != "" {
		if ws.Signal() != syscall.SIGKILL {
			b.t.Fatalf("at %s %d: %v\n%s", point, n, err, out)
		}
		return nil
	}
	if err == nil {
		err = json.Unmarshal(out, &passed)
	}
	if err != nil {
		b.t.Errorf("%v\n%s", err, out)
	}
	return passed
}

// TestKilledEverywhere kills a commit to the host at every step of it: each object is the
// old one or the new one (a directory may have the names and not yet the mode), and the next commit
// makes an end, without a conflict and without leaving a temporary.
func TestKilledEverywhere(t *testing.T) { killEverywhere(t, 2) }

// TestKilledSoak does it at every passing of every step.
func TestKilledSoak(t *testing.T) {
	if os.Getenv("PLYFS_SOAK") == "" {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
	killEverywhere(t, 1000)
}

func killEverywhere(t *testing.T, most int) {
	b := everything(t)
	before := b.tree()
	passed := b.commit("", 0)
	after := b.tree()
	b.expect()
	kills := 0
	for point, n := range passed {
		if !strings.HasPrefix(point, "sandbox.") {
			continue
		}
		for i := 1; i <= min(n, most); i++ {
			b := everything(t)
			b.commit(point, i)
			kills++
			for p, is := range b.tree() {
				if strings.Contains(p, "/"+tmpPrefix) {
					continue // on its way; it goes with the next commit
				}
				old, inOld := before[p]
				late, inNew := after[p]
				dir := strings.HasPrefix(is, "4") // 040755
				if is != old && is != late && (!dir || !inOld && !inNew) && p != "/mode" && !strings.HasPrefix(p, "/dir/") {
					t.Errorf("killed at %s %d: %s is %q, was %q, is to be %q", point, i, p, is, old, late)
				}
			}
			b.commit("", 0)
			if now := b.tree(); !maps.Equal(now, after) {
				t.Errorf("killed at %s %d, and again:\n%v\nwant:\n%v", point, i, now, after)
			}
			b.expect()
			if _, err := unix.Getxattr(b.upper, stepXattr, nil); err != unix.ENODATA {
				t.Errorf("killed at %s %d, and again: the note is there: %v", point, i, err)
			}
		}
	}
	t.Logf("killed %d times at %d failpoints", kills, len(passed))
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		text, err := os.ReadFile(f)
		b.must(err)
		for _, m := range regexp.MustCompile(`fail\.(?:Point|Err)\("([^"]+)"\)`).FindAllSubmatch(text, -1) {
			if passed[string(m[1])] == 0 && string(m[1]) != "sandbox.away" { // where no exchange is
				t.Errorf("%s: nobody dies at %s", f, m[1])
			}
		}
	}
}
