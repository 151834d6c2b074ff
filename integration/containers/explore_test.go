package containers

import (
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestExplore looks into a container while it runs, and into a sandbox.
func TestExplore(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		helper := filepath.Dir(harness.Build(t, "./cmd/plyfs-image"))
		p.sh(t, `$RUND --name c sh -c 'echo one >/first; rm /etc/group; echo x >>/etc/passwd; : >/tmp/on; until [ -e /tmp/go ]; do sleep 0.1; done; sync; sleep 1000' >/dev/null
			until $BIN exec c test -e /tmp/on; do sleep 0.1; done
			$BIN try --name s --keep -- sh -c 'echo from the sandbox >/etc/plyfs-explored' </dev/null 2>/dev/null`)
		watch := func(what string) *harness.Screen {
			cmd := p.Command(t, harness.Binary(t), "explore", what)
			cmd.Env = append(cmd.Env, "PLYFS_ROOT="+p.store, "TERM=xterm-256color", "CI=")
			for i, e := range cmd.Env {
				if len(e) > 5 && e[:5] == "PATH=" {
					cmd.Env[i] += ":" + helper
				}
			}
			return harness.Watch(t, cmd)
		}
		x := watch("c")
		x.Keys("u")
		x.Shows("changes of layer 2", "first", "D -rw-r--r--", "group", "C -rw-r--r--", "passwd", "!second", "!busybox")
		p.sh(t, `$BIN exec c sh -c 'echo two >/second; : >/tmp/go'`)
		x.Keys("/passwd\rx")
		x.Shows("+x")
		x.Keys("q\x1b")
		x.Shows("first")
		x.Keys("r")
		x.Shows("read again", "second")
		x.Keys("q")
		if err := x.Cmd.Wait(); err != nil {
			t.Error(err)
		}
		x = watch("s")
		x.Shows("changes of layer 2", "host", "plyfs-explored", "A -rw-r--r--")
		x.Keys("/explored\rv")
		x.Shows("from the sandbox")
		x.Keys("qq")
		if err := x.Cmd.Wait(); err != nil {
			t.Error(err)
		}
		p.sh(t, `$BIN rm -f c >/dev/null; $BIN discard s`)
	})
}
