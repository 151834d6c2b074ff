//go:build vm

package guest

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// person is somebody who runs containers.
type person struct {
	*harness.User
	layer, store string
	flags        string // of run
	env          []string
}

// tenant has a systemd --user.
const (
	superuser = "root"
	tenant    = "plytest"
	lone      = "lone"
)

func newPerson(t *testing.T, name string) *person {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	p := &person{User: &harness.User{Name: name, UID: uid, GID: gid}}
	dir := p.Dir(t)
	p.store, p.layer = filepath.Join(dir, "store"), filepath.Join(dir, "layer")
	if name == tenant {
		p.env = []string{"XDG_RUNTIME_DIR=/run/user/" + u.Uid}
	}
	p.sh(t, `mkdir -p $LAYER/{bin,etc,tmp,root} && cp $(command -v busybox) $LAYER/bin/
		for a in sh cat dd sleep true seq head grep sync id yes timeout; do ln -s busybox $LAYER/bin/$a; done
		echo root:x:0:0:root:/root:/bin/sh >$LAYER/etc/passwd; echo app:x:1000:1000:app:/:/bin/sh >>$LAYER/etc/passwd`)
	t.Cleanup(func() {
		if t.Failed() { // what the servers had to say is gone with their containers
			t.Log(p.sh(t, "tail -n 5 $PLYFS_ROOT/containers/*/server.log || true"))
		}
		p.sh(t, "ids=$($BIN ps -aq); [[ -z $ids ]] || $BIN rm -f $ids >/dev/null")
	})
	return p
}

// tools is shell text for every script.
const tools = `
no() { if "$@"; then echo "$* succeeded"; exit 1; fi; }
want() { [[ $1 == "$2" ]] || { echo "got '$1', want '$2'"; exit 1; }; }
state() { $BIN inspect -f "{{.State.$2}}" $1; }
# dir is the cgroup of a container's process: in version 2 there is one.
dir() { echo /sys/fs/cgroup$(cut -d: -f3 /proc/$(state $1 ${2:-Init}.PID)/cgroup); }
field() { awk -v f=$2 '$1 == f {print $2}' $1; }
# soon waits for something to become true.
soon() { for i in $(seq 200); do if "$@" 2>/dev/null; then return; fi; sleep 0.05; done; echo "never: $*"; exit 1; }
`

// sh runs a script with $RUN (run a container and remove it), $RUND (in the
// background) and the tools, and gives what it printed.
func (p *person) sh(t *testing.T, script string, env ...string) string {
	t.Helper()
	run := "/t/plyfs run --net none " + p.flags + " --layer " + p.layer
	env = append(append(p.env, "PLYFS_ROOT="+p.store, "LAYER="+p.layer, "FLAGS="+p.flags, "RUN="+run+" --rm", "RUND="+run+" -d"), env...)
	return strings.TrimSpace(p.Run(t, tools+script, env...))
}

// write is echo TEXT >FILE, for files of the kernel.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}
