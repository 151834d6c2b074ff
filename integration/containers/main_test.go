package containers

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// person is somebody who runs containers, in one of the three ways.
type person struct {
	*harness.User
	name  string
	flags string // of run
	layer string // a root of busybox
	store string
}

// each runs a test for every way. A way is a user and what ids he has.
func each(t *testing.T, test func(t *testing.T, p *person)) {
	t.Helper()
	for _, name := range []string{"root", "subids", "single"} {
		t.Run(name, func(t *testing.T) { test(t, newPerson(t, name)) })
	}
}

// two is each for what differs between root and users only.
func two(t *testing.T, test func(t *testing.T, p *person)) {
	t.Helper()
	for _, name := range []string{"root", "subids"} {
		t.Run(name, func(t *testing.T) { test(t, newPerson(t, name)) })
	}
}

func newPerson(t *testing.T, name string) *person {
	t.Helper()
	p := &person{name: name}
	switch name {
	case "root":
		p.User = harness.Root(t)
	case "subids":
		require.SubIDs(t)
		require.UserNS(t)
		p.User = harness.Unprivileged(t)
	case "single":
		require.UserNS(t)
		p.User, p.flags = harness.Unprivileged(t), "--userns single"
	}
	dir := p.Dir(t)
	p.store, p.layer = filepath.Join(dir, "store"), filepath.Join(dir, "layer")
	makeLayer(t, p, p.layer)
	t.Cleanup(func() {
		// Whatever a failed test has left; and nothing may be left then.
		p.Run(t, "ids=$($BIN ps -aq); [[ -z $ids ]] || $BIN rm -f $ids >/dev/null; [[ -z $(ls -A $PLYFS_ROOT/containers 2>/dev/null) ]]")
	})
	return p
}

// applets are the programs of the root.
const applets = "sh pwd ls cat id true false ps mount umount hostname stat touch mkdir rm chown chmod sleep env stty kill wc grep " +
	"head dd df ip nc readlink tty test echo printf seq tail ln mknod dmesg unshare chroot tr cut sort cp mv find"

// makeLayer makes a root of busybox, owned by the person.
func makeLayer(t *testing.T, p *person, dir string) {
	t.Helper()
	require.Tool(t, "busybox")
	p.sh(t, `mkdir -p $LAYER/{bin,etc,tmp,root,home/app}
		cp $(command -v busybox) $LAYER/bin/
		for a in `+applets+`; do ln -s busybox $LAYER/bin/$a; done
		echo root:x:0:0:root:/root:/bin/sh >$LAYER/etc/passwd
		echo app:x:1000:1000:app:/home/app:/bin/sh >>$LAYER/etc/passwd
		printf 'root:x:0:\napp:x:1000:\nextra:x:50:app\n' >$LAYER/etc/group
		chmod 1777 $LAYER/tmp`)
}

// sh runs a script with $LAYER, $RUN (run a container and remove it), $RUND (in
// the background, kept), $FLAGS (of both) and the store of this test.
func (p *person) sh(t *testing.T, script string) string {
	t.Helper()
	flags := "--net none " + p.flags + " --layer " + p.layer
	// no: a failure that is wanted (bash's own "!" would hide a success);
	// has: grep -q that reads all, so that nobody writes into a closed pipe.
	return p.Run(t, "has() { grep \"$@\" >/dev/null; }\nno() { if \"$@\"; then echo \"$* succeeded\"; exit 1; fi; }\n"+script,
		"LAYER="+p.layer, "FLAGS="+flags,
		"RUN="+harness.Binary(t)+" run --rm "+flags,
		"RUND="+harness.Binary(t)+" run -d "+flags,
	)
}

// Run has the store of this test.
func (p *person) Run(t *testing.T, script string, env ...string) string {
	t.Helper()
	return p.User.Run(t, script, append(env, "PLYFS_ROOT="+p.store)...)
}

// prints wants a script to print something.
func (p *person) prints(t *testing.T, script, want string) {
	t.Helper()
	// What is printed counts, and not how a command ends.
	if got := strings.TrimSpace(p.sh(t, "set +e\n"+script+"\ntrue")); got != want {
		t.Errorf("%s\nprinted %q, want %q", script, got, want)
	}
}
