package try

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

// TestView: what of the host is there, and what isn't.
func TestView(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir -p .ssh .aws p/ro p/rw p/hide .config/gh; echo secret >.ssh/id; echo secret >p/hide/f; echo r >p/ro/f
export SSH_AUTH_SOCK=/x KEPT=yes
try --keep --name v --hide p/hide --ro p/ro --rw p/rw -- sh -c '
	test "$(id -u)" = 0
	test ! -e .ssh; test ! -e .aws; test ! -e .config/gh; test ! -e p/hide; test ! -e .data
	mkdir .ssh; echo other >.ssh/id; cat .ssh/id >/dev/null
	test -z "$(ls -A /tmp)"; echo t >/tmp/t; test ! -e /tmp/.X11-unix
	test -z "${SSH_AUTH_SOCK-}"; test "$KEPT" = yes
	! echo x >p/ro/f; ! rm -rf p/ro/f; cat p/ro/f >/dev/null
	echo through >p/rw/f; ls /proc/1 >/dev/null; echo >/dev/null
	test "$(cat /etc/hosts)" = "$(cat /etc/hosts)"; echo "# mine" >>/etc/hosts' 2>/dev/null
same "$(cat p/rw/f)" through
same "$(cat .ssh/id)" secret
plyfs diff v | hasx 'C /etc/hosts'
plyfs diff v | has "^C $H/.ssh/id .stays in the sandbox: hidden"
! plyfs diff --patch v | has secret
plyfs commit --to-host --force v $H >/dev/null 2>&1
same "$(cat .ssh/id)" secret
# Whatever it deletes: what it did not see stays.
try --keep --name v --hide p/hide -- sh -c 'rm -rf p .ssh'
plyfs commit --to-host --force -q v $H/p >/dev/null 2>&1 || true
same "$(cat p/hide/f p/rw/f p/ro/f)" "secret
through
r"
try --discard --show .ssh -- cat .ssh/id >out; same "$(cat out)" secret
same "$(try --discard --net none -- sh -c 'ls /sys/class/net')" lo
plyfs discard v
`)
	})
}

// TestHideAbove: what is hidden is gone, also where the layer of the view has
// files and other hidden paths of its own in it.
func TestHideAbove(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir -p .ssh p/in; echo secret >p/in/f
same "$(try --discard -w / --hide p --hide p/in --hide /etc -- sh -c 'cd /; for f in /etc '$H/p'; do test ! -e $f || { echo $f:; ls -A $f; }; done; ls -d '$H'/p/in 2>/dev/null')" ""
same "$(try --discard -w / --hide /etc/shadow -- sh -c 'test ! -e /etc/shadow || echo there')" ""
same "$(try --discard -w / --hide $H -- sh -c 'ls -d '$H' 2>/dev/null')" ""
echo y >p/in/y
same "$(try --discard -w / --hide $H --rw p/in -- find $H -mindepth 1 | sort)" "$H/p
$H/p/in
$H/p/in/f
$H/p/in/y"
same "$(try --discard --hide /run -- sh -c 'echo x >/run/x && cat /run/x')" x
`)
	})
}

// TestLive: the host goes on while a sandbox runs.
func TestLive(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir p d ctl; echo one >p/f; echo one >p/g; mkfifo ctl/go ctl/ready
exec 3<>ctl/go 4<>ctl/ready
$BIN try --keep --name l --rw ctl -- sh -c '
	step() { echo >ctl/ready; read x <ctl/go; sleep 1.1; }
	exec 5<p/f; cat p/f p/g; ls p; echo mine >p/g; mkdir p/same
	step
	cat p/f p/g p/new; ls p/same; ls d; cat <&5
	step
	cat p/f; ls p' >out 2>err </dev/null &
read -t 60 x <&4
echo two >p/f; echo host >p/g; echo new >p/new; mkdir p/same; echo theirs >p/same/t; echo e >d/e
echo >&3; read -t 60 x <&4
echo three >p/.f; mv p/.f p/f; rm p/new
echo >&3; wait $!
same "$(cat out)" "one
one
f
g
two
mine
new
e
two
three
f
g
same"
plyfs diff l | has "^C $H/p/g .conflict"
plyfs discard l
`)
	})
}

// TestClosed: what the user may not read.
func TestClosed(t *testing.T) {
	root := harness.Root(t)
	h := newHome(t, harness.Unprivileged(t))
	root.Run(t, `cd $H; mkdir closed; echo s >closed/secret; chmod 700 closed; echo s >data; echo s >data2; : >empty; chmod 600 data data2 empty`, "H="+h.dir)
	h.run(`
try --keep --name c -- sh -c '
	test -z "$(ls -A closed)"; echo mine >closed/mine; cat closed/mine
	! cat data; cat data 2>&1 | grep -q denied
	echo new >data; cat data
	rm data2; echo again >data2; cat data2
	echo lock >>empty; cat empty' 2>/dev/null >out
same "$(cat out)" "mine
new
again
lock"
grep -q "directory that you may not read was empty inside: $H/closed" .err || grep -q "were empty inside: .*$H/closed" .err
plyfs diff --format json c | has '"closed"'
fails plyfs commit --to-host --force c $H/closed
plyfs discard c
`)
	root.Run(t, `test "$(cat $H/closed/secret $H/data $H/data2; ls $H/closed)" = "$(printf 's\ns\ns\nsecret')"`, "H="+h.dir)
}

// TestOwners: with one id, owners and devices are data.
func TestOwners(t *testing.T) {
	h := newHome(t, harness.Unprivileged(t))
	h.run(`
try --keep --name o -- sh -c '
	umask 022; echo x >f; chown 12:34 f; mkdir d; chown -R 5 d; ln -s f l; chown -h 7 l
	cp -p f g; tar cf t.tar --owner=8 --group=9 f; mkdir x; tar xf t.tar -C x --same-owner
	mknod n c 1 3; chmod 4755 f; test "$(stat -c %u f)" = 0
	mkdir jail; cp f jail/; cd jail; chown 77:88 ../jail/f; chown 66 "$(readlink -f .)"
	touch /tmp/z; chown 5 /tmp/z; ! chown 5 nothing
	su nobody -s /bin/sh -c id >/dev/null || true' 2>/dev/null
json() { plyfs diff --format json o $H/$1 | tr -d ' \n'; }
json f | has '"mode":"04755","uid":12,"gid":34'
json d | has '"uid":5,"gid":0'
json x/f | has '"uid":8,"gid":9'
json jail/f | has '"uid":77,"gid":88'
json jail | has '"uid":66,"gid":0'
json n | has '"type":"char"'
same "$(try --keep --name o -- sh -c 'stat -c "%F %t:%T" n')" "character special file 1:3"
plyfs discard o
`)
}

// TestExecOwners: what is executed into a sandbox of one id gives files away as
// its first command does, on a terminal and without one.
func TestExecOwners(t *testing.T) {
	require.Tool(t, "script")
	h := newHome(t, harness.Unprivileged(t))
	h.run(`
mkdir ctl; mkfifo ctl/ready; exec 4<>ctl/ready
$BIN try --keep --name x --rw ctl -- sh -c 'echo >ctl/ready; sleep 1000' </dev/null >/dev/null 2>&1 &
trap 'kill $! 2>/dev/null || true' EXIT
read -t 60 x <&4
same "$($BIN exec x id -u </dev/null)" 0
$BIN exec -w $H x sh -c 'echo x >f; chown 12:34 f; umask 022; mknod n c 1 3; su nobody -s /bin/sh -c true; mkdir d; (cd d; chown 77 .)' </dev/null
rc=0; $BIN exec x sh -c 'exit 7' </dev/null || rc=$?; same $rc 7
rc=0; $BIN exec x sh -c 'kill -9 $$' </dev/null || rc=$?; same $rc 137
rc=0; $BIN exec x nosuch </dev/null 2>/dev/null || rc=$?; same $rc 127
script -qec "$BIN exec -it x sh -c 'tty; : </dev/tty && echo controlled; touch $H/g; chown 5:6 $H/g && echo given'" /dev/null </dev/null >out
has controlled out; has given out
# Who executed it is killed: it ends as well.
$BIN exec x sleep 999 </dev/null & e=$!
until $BIN top x | has 'sleep 999'; do sleep 0.05; done
kill -9 $e; wait $e || true
for i in $(seq 100); do $BIN top x | has 'sleep 999' || break; sleep 0.05; done
if $BIN top x | has 'sleep 999'; then exit 1; fi
json() { plyfs diff --format json x $H/$1 | tr -d ' \n'; }
json f | has '"uid":12,"gid":34'
json g | has '"uid":5,"gid":6'
json d | has '"uid":77'
json n | has '"type":"char"'
kill %1; wait || true
plyfs discard x
`)
}

// TestSynced: what a program in a running sandbox has written through a shared
// mapping is in its diff.
func TestSynced(t *testing.T) {
	require.Tool(t, "python3")
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir ctl; mkfifo ctl/ready; exec 4<>ctl/ready
cat >m.py <<'END'
import mmap, time
f = open("f", "w+b"); f.truncate(8192)
m = mmap.mmap(f.fileno(), 8192); m[0:6] = b"mapped"
open("ctl/ready", "w").write("x\n"); time.sleep(1000)
END
$BIN try --name s --rw ctl -- python3 m.py </dev/null >/dev/null 2>&1 &
trap 'kill $! 2>/dev/null || true' EXIT
read -t 60 x <&4
for i in $(seq 50); do plyfs diff s >/dev/null; has mapped .data/containers/*/upper$H/f && break; sleep 0.1; done
has mapped .data/containers/*/upper$H/f
same "$($BIN exec s id -u </dev/null)" 0
kill $!; wait $! || true
plyfs discard s
`)
	})
}

// TestLimits: limits and time of a sandbox, its directory and environment.
func TestLimits(t *testing.T) {
	h := newHome(t, harness.Root(t))
	h.run(`
rc=0; plyfs try --discard -m 32m -- dd if=/dev/zero of=/dev/null bs=96M count=1 >.out 2>&1 || rc=$?; same $rc 137
try --discard --pids-limit 6 -- sh -c 'for i in $(seq 30); do sleep 0.2 & done; wait' || true; has -i fork .err
for n in 1 2 3; do same "$(try --discard --pids-limit $n -- echo fine)" fine; done
try --discard --cpus 0.5 -- true
same "$(X=1 try --discard -w /usr -e X -e Y=2 -e Z -- sh -c 'pwd; echo $X$Y${Z-none}')" "/usr
12none"
n=$(plyfs ps -aq | wc -l); rc=0; plyfs try -w /not/there -- true 2>.err || rc=$?; same $rc 126; has 'directory /not/there' .err; same $(plyfs ps -aq | wc -l) $n
same "$(try -w /tmp/new -- pwd)" /tmp/new; same $(plyfs ps -aq | wc -l) $n
`)
}

// TestCopySandbox: cp works on a sandbox whether something runs in it or not,
// and not while somebody works on it.
func TestCopySandbox(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
echo host >f
try --keep --name c -- sh -c 'echo inside >f; mkdir d; echo x >d/x'
plyfs cp c:$H/f out; same "$(cat out f)" "inside
host"
plyfs cp c:$H/d - | tar t | hasx d/x
echo back >in; plyfs cp in c:$H/d/in; plyfs diff --name-only c $H/d | hasx $H/d/in
same "$(try --keep --name c -- cat d/in)" back
fails plyfs cp c:$H/.data .
test ! -e d; plyfs discard c
`)
	})
}

// TestRootCommits: what a user may not put on the host, root may, and the user
// is told how.
func TestRootCommits(t *testing.T) {
	root := harness.Root(t)
	h := newHome(t, harness.Unprivileged(t))
	root.Run(t, `cd $H; mkdir closed; chmod 755 closed; echo old >closed/f`, "H="+h.dir)
	h.run(`
try --keep --name r -- sh -c 'echo new >closed/f; echo n >closed/n'
fails plyfs commit --to-host r
has "root may do it: sudo plyfs --root $H/.data commit --to-host r" .out
same "$(cat closed/f)" old`)
	root.Run(t, `$BIN --root $H/.data commit --to-host -q r; test "$(cat $H/closed/f $H/closed/n)" = "$(printf 'new\nn')"; test "$(stat -c %U $H/closed/f)" = root`, "H="+h.dir)
	h.run(`same "$(plyfs diff r)" ""; plyfs discard r`)
}
