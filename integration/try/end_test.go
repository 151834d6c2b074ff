package try

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestEnds: exit codes, and what becomes of the sandbox.
func TestEnds(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
code() { want=$1; shift; rc=0; plyfs try "$@" >.out 2>&1 || rc=$?; test $rc = $want || { cat .out; echo "code $rc, not $want: $*"; exit 1; }; }
code 0 --discard -- true
code 7 --discard -- sh -c 'exit 7'
code 137 --discard -- sh -c 'kill -9 $$'
code 126 -- /etc/passwd
code 127 -- nosuchprogram
code 125 --nosuchflag
code 125 --commit --keep -- true
code 125 --net some -- true
code 124 --discard --timeout 1 -- sleep 60
code 0 -- true
test -z "$(ls .data/containers)" # nothing has changed: nothing is kept
code 0 -- touch f
test "$(plyfs ps -aq | wc -l)" = 1; plyfs discard $(plyfs ps -aq)
code 3 --commit -- sh -c 'echo x >f; exit 3'
same "$(cat f)" x
test -z "$(ls .data/containers)"
code 125 --name gone/x -- true
echo hello | $BIN try --discard -q -- sh -c 'read x; echo $x' >out; same "$(cat out)" hello
`)
	})
}

// TestKilled: a command line that is killed leaves a sandbox that can be looked
// at and gone on in.
func TestKilled(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir ctl; mkfifo ctl/ready; exec 4<>ctl/ready
$BIN try --name k --rw ctl -- sh -c 'echo x >f; echo >ctl/ready; sleep 1000' </dev/null >/dev/null 2>&1 &
trap 'kill $! 2>/dev/null || true' EXIT
read -t 60 x <&4
for verb in "commit --to-host" discard checkpoint rollback "try --keep --name"; do
	fails plyfs $verb k true
	has 'in use' .out || { cat .out; exit 1; }
done
same "$(plyfs diff k)" "A $H/f"
kill -9 $!; wait $! || true
plyfs ps -a | has Dead
same "$(plyfs diff k)" "A $H/f"
same "$(try --keep --name k -- cat f)" x
plyfs commit --to-host -q k; same "$(cat f)" x
plyfs discard k; test -z "$(ls .data/containers)"
`)
	})
}

// TestQuestion answers on a terminal.
func TestQuestion(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		for _, a := range []struct{ answer, file, kept string }{
			{"c", "one\n", ""},
			{"d", "", ""},
			{"k", "", "kept as "},
			{"x\nd", "", ""},
		} {
			_ = os.Remove(h.dir + "/f")
			said := answer(t, h, a.answer)
			text, _ := os.ReadFile(h.dir + "/f")
			if string(text) != a.file || strings.Contains(said, "kept as ") != (a.kept != "") {
				t.Errorf("answer %q: the file has %q\n%s", a.answer, text, said)
			}
			if a.kept != "" {
				h.run(`plyfs discard $(plyfs ps -aq)`)
			}
			h.run(`test -z "$(ls .data/containers)"`)
		}
	})
}

// answer runs a sandbox on a terminal of its own and types when it is asked.
func answer(t *testing.T, h *home, text string) string {
	t.Helper()
	master, slave := harness.Terminal(t)
	defer master.Close()
	cmd := h.Command(t, harness.Binary(t), "try", "--", "sh", "-c", "stty -echo; tty >/dev/null && echo one >f")
	cmd.Dir = h.dir
	cmd.Env = append(cmd.Env, "HOME="+h.dir, "PLYFS_ROOT="+h.dir+"/.data")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setpgid = false
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var said bytes.Buffer
	asked := make(chan bool, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			said.Write(buf[:n])
			if strings.Contains(said.String(), "[c/K/d]") {
				select {
				case asked <- true:
				default:
				}
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-asked:
		_, _ = master.WriteString(text + "\n")
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Error("nothing was asked")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	select {
	case <-done:
		return said.String()
	case <-time.After(10 * time.Second):
		t.Fatal("somebody keeps the terminal")
	}
	return ""
}

// TestKilledCommit kills a commit at each of its steps: a file is the old one or
// the new one, and the next commit finishes the work.
func TestKilledCommit(t *testing.T) {
	h := newHome(t, harness.Unprivileged(t))
	h.run(`mkdir p; for i in $(seq 200); do echo old >p/$i; done
try --keep --name k -- sh -c 'for i in $(seq 200); do echo new >p/$i; done'`)
	for i := range 6 {
		cmd := h.Command(t, harness.Binary(t), "commit", "--to-host", "-q", "k")
		cmd.Env = append(cmd.Env, "HOME="+h.dir, "PLYFS_ROOT="+h.dir+"/.data")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+17*i) * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		h.run(`test -z "$(cat p/* | grep -vx -e old -e new)"; test "$(ls p | wc -l)" = 200`)
	}
	h.run(`plyfs commit --to-host -q k; test "$(cat p/* | sort -u)" = new; test "$(ls -A p | wc -l)" = 200; same "$(plyfs diff k)" ""; plyfs discard k`)
}

// TestKilledStages kills plyfs try at each stage of its start: what is left is
// listed, tells what it is, and can be gone on in or removed.
func TestKilledStages(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
for point in create.made create.written create.entered try.created try.taken try.viewed \
	start.stage start.recorded start.grouped start.told start.payload start.stored stage.init stage.serve init.step init.ready end.reaped end.stored; do
	command="touch g"; [ $point = start.told ] || [ $point = start.payload ] || [ $point = end.reaped ] || [ $point = end.stored ] || command="sleep 1000"
	rc=0; PLYFS_FAIL=$point:kill timeout 60 $BIN try --keep --name k -- $command </dev/null >.log 2>&1 || rc=$?
	test $rc = 137 || test $rc = 125 || { echo "$point: code $rc"; cat .log; exit 1; }
	n=$(plyfs ps -aq | wc -l)
	case $point in
	create.made|create.written) test $n = 0 ;;
	create.entered|try.created)
		test $n = 1; fails plyfs discard k; has 'never made to its end.*plyfs rm k' .out; plyfs rm k ;;
	stage.*|init.step) test $n = 0; has '^plyfs: ' .log ;; # nothing ran: it is gone again
	*)
		test $n = 1
		for i in $(seq 100); do plyfs diff k >.log 2>&1 && break; sleep 0.05; done; plyfs diff k >.log
		[ $point != end.stored ] || has "^A $H/g" .log
		same "$(try --keep --name k -- echo on)" on
		plyfs discard k ;;
	esac
	test -z "$(plyfs ps -aq)"; rm -rf .data/containers/.[0-9a-f]*; test -z "$(ls -A .data/containers)"
done
test ! -e g
`)
	})
}
