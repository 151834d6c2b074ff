package containers

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// sit starts plyfs on a terminal; $FLAGS are taken from run's.
func (p *person) sit(t *testing.T, words string) *harness.Typist {
	t.Helper()
	words = strings.ReplaceAll(words, "$FLAGS", "--net none "+p.flags+" --layer "+p.layer)
	cmd := p.Command(t, harness.Binary(t), strings.Fields(words)...)
	cmd.Env = append(cmd.Env, "PLYFS_ROOT="+p.store)
	return harness.Sit(t, cmd)
}

func ends(t *testing.T, y *harness.Typist, want int) string {
	t.Helper()
	code, said := y.End()
	if code != want {
		t.Fatalf("code %d, want %d: %q", code, want, said)
	}
	return said
}

// TestDetach: the keys leave a container, attach comes back, several look on,
// and the code arrives wherever somebody waits.
func TestDetach(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		y := p.sit(t, "run -it --name d $FLAGS sh")
		y.Type("stty size; echo on$((40+2))\n")
		y.Await("33 99")
		y.Await("on42")
		y.Resize(44, 77)
		y.Type("until [ \"$(stty size)\" = '44 77' ]; do :; done; X=kept; echo re$((1+1))\n")
		y.Await("re2")
		y.Type("\x10\x11")
		if said := ends(t, y, 0); !strings.Contains(said, "detached; plyfs attach d comes back") {
			t.Errorf("said %q", said)
		}
		p.prints(t, `$BIN ps --format '{{.Names}} {{.State}}'; $BIN logs d | grep -c on42`, "d running\n1")

		a := p.sit(t, "attach d")
		b := p.sit(t, "attach --detach-keys q d")
		a.Await("/ # ") // drawn anew for the size of this terminal: it is connected
		a.Type("echo $X$((2+3))\n")
		a.Await("kept5")
		b.Await("kept5")
		b.Type("q")
		ends(t, b, 0)
		a.Type("exit 9\n")
		ends(t, a, 9)
		p.prints(t, `$BIN wait d; $BIN attach d </dev/null 2>&1; echo $?; $BIN rm d`, "9\nplyfs: attach needs a terminal as standard input\n125\nd")

		y = p.sit(t, "run -it --rm --name d --detach-keys ctrl-a,b $FLAGS sh")
		y.Type("echo on$((40+2))\n")
		y.Await("on42")
		y.Type("\x01b")
		ends(t, y, 0)
		y = p.sit(t, "attach d")
		y.Type("exit 3\n")
		ends(t, y, 3)
		p.prints(t, `$BIN ps -aq; ls -A $PLYFS_ROOT/containers`, "")
	})
}

// TestHangUp: who leaves a terminal in another way ends what he has started,
// and nothing that he only looks at.
func TestHangUp(t *testing.T) {
	two(t, func(t *testing.T, p *person) {
		y := p.sit(t, "run -it --name h $FLAGS sh")
		y.Type("echo on$((40+2))\n")
		y.Await("on42")
		a := p.sit(t, "attach h")
		a.Type("echo on$((41+2))\n")
		a.Await("on43")
		_ = a.Cmd.Process.Kill()
		a.End()
		y.Await("on43")
		y.Type("echo on$((42+2))\n")
		y.Await("on44")
		_ = y.Cmd.Process.Kill()
		y.End()
		p.prints(t, `$BIN wait h; $BIN inspect -f '{{.State.Status}} {{.State.ExitCode}}' h; $BIN rm h`, "137\nexited 137\nh")

		// A signal is passed on.
		p.sh(t, `printf 'trap "exit 5" HUP; echo on; while :; do sleep 0.05; done\n' >$LAYER/trap`)
		y = p.sit(t, "run -it --rm --name h $FLAGS sh /trap")
		y.Await("on")
		_ = y.Cmd.Process.Signal(unix.SIGHUP)
		ends(t, y, 5)
	})
}

// TestDetachExec: an executed command goes on without anybody, and ends with
// whoever hasn't detached.
func TestDetachExec(t *testing.T) {
	two(t, func(t *testing.T, p *person) {
		p.sh(t, `$RUND --name e sleep 1000 >/dev/null`)
		y := p.sit(t, "exec -it e sh")
		y.Type("stty size; echo on$((40+2))\n")
		y.Await("33 99")
		y.Await("on42")
		y.Type("(sleep 0.3; echo out; touch /after) ; exec sleep 777\n\x10\x11")
		if said := ends(t, y, 0); !strings.Contains(said, "detached; the command goes on") {
			t.Errorf("said %q", said)
		}
		p.sh(t, `until $BIN exec e test -e /after; do sleep 0.05; done; $BIN top e | has 'sleep 777'`)
		y = p.sit(t, "exec -it e sh")
		y.Type("exec sleep 888\n")
		p.sh(t, `until $BIN top e | has 'sleep 888'; do sleep 0.05; done`)
		_ = y.Cmd.Process.Kill()
		y.End()
		p.sh(t, `for i in $(seq 100); do $BIN top e | has 'sleep 888' || exit 0; sleep 0.05; done; exit 1`)
		y = p.sit(t, "exec -it e sh")
		y.Type("exit 6\n")
		ends(t, y, 6)
		y = p.sit(t, "exec -it e nosuch")
		ends(t, y, 127)
		p.sh(t, `$BIN rm -f e`)
	})
}

// TestAttachRefused: what has no terminal, or doesn't run.
func TestAttachRefused(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `$RUND --name n sleep 1000 >/dev/null; $RUND --name z true >/dev/null; $BIN wait z >/dev/null`)
	for words, want := range map[string]string{
		"attach n":                             "container n has no terminal: plyfs logs -f n shows what it writes, and plyfs exec -it n sh gives one",
		"attach z":                             "container z is not running: it is exited",
		"attach nobody":                        "no such container: nobody; plyfs ps -a lists them",
		"attach --detach-keys ctrl-1 n":        "--detach-keys: \"ctrl-1\" is neither a character nor ctrl-",
		"run -it --detach-keys xy $FLAGS true": "--detach-keys: \"xy\" is neither",
		"attach n z":                           "one container is wanted, and 2 are given",
		"attach":                               "no container given",
	} {
		y := p.sit(t, words)
		if said := ends(t, y, 125); !strings.Contains(said, "plyfs: "+want) {
			t.Errorf("%s said %q, want %q", words, said, want)
		}
	}
	p.sh(t, `$BIN rm -f n z`)
}
