package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plyfs/plyfs/cmd/internal/images"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestMain lets the scripts run this test binary under the names that the
// real one has.
func TestMain(m *testing.M) {
	container.RegisterRootJob(diffJobName, diffJob)
	container.Boot(openRootfs) // the processes of a container are this binary, too
	testscript.Main(m, map[string]func(){
		"plyfs":             main,
		"fuse-overlayfs":    main,
		"mount.fuse3.plyfs": main,
		"plyfs-image":       images.Main,
	})
}

// TestScripts runs testdata/script/*.txtar: each is one subject of the command
// line. "exits CODE CMD…" runs a command and wants that exit code;
// "mounted DIR" wants a mount of plyfs on DIR; "registry VAR" has a registry and
// its address in the variable.
func TestScripts(t *testing.T) {
	require.FUSE(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"mounted":  mounted,
			"registry": serveRegistry,
		},
		Condition: func(cond string) (bool, error) {
			return cond == "root" && os.Geteuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Defer(func() { unmountBelow(env.WorkDir) })
			return nil
		},
	})
}

// TestScriptsAsUser runs them once more as the test user, who has subordinate
// ids, and as that user without the programs that map them.
func TestScriptsAsUser(t *testing.T) {
	require.FUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("TestScripts ran as an ordinary user already")
	}
	u := require.User(t)
	for name, script := range map[string]string{
		"subids": `exec ./plyfs.test "$@"`,
		// testscript takes its PATH from ours.
		"single": `mkdir path; IFS=:; for d in $PATH; do for f in "$d"/*; do
				[ -e "path/${f##*/}" ] || case $f in */newuidmap|*/newgidmap) ;; *) ln -s "$f" path/ ;; esac
			done; done 2>/dev/null; PATH=$PWD/path; exec ./plyfs.test "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/var/tmp", "plyfs-scripts-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("sh", "-c", `install -m 755 "$1" "$2/plyfs.test" && cp -r testdata "$2" && mkdir "$2/tmp" && chown -R "$3" "$2"`,
				"sh", self, dir, u.Uid+":"+u.Gid).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd := exec.Command("setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--init-groups", "sh", "-c", script, "sh",
				"-test.run=^TestScripts$", "-test.timeout=5m", "-test.failfast")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir+"/tmp", "USER="+u.Username)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := err.(*exec.ExitError); ok {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func serveRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: registry VARIABLE")
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

func mounted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] mounted DIR")
	}
	table, err := readMounts()
	ts.Check(err)
	m, ok := table.on(ts.MkAbs(args[0]))
	if got := ok && m.fsType == fsType; got == neg {
		ts.Fatalf("%s: mounted by plyfs: %v", args[0], got)
	}
}

// unmountBelow leaves nothing behind of a script that failed.
func unmountBelow(dir string) {
	table, err := readMounts()
	if err != nil {
		return
	}
	for i := len(table) - 1; i >= 0; i-- {
		if m := table[i]; len(m.dir) > len(dir) && m.dir[:len(dir)] == dir {
			_ = detach(m.dir) // the check of the temporary directory tells
		}
	}
}
