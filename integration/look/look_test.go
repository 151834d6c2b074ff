package look

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// prelude has functions for scripts. A trace runs beside: `begin NAME ARGS…` starts
// one and returns when it has begun, `finish NAME` waits for its end.
const prelude = `
trap 'echo "line $LINENO: $BASH_COMMAND"; cat *.err 2>/dev/null' ERR; set -E
export HOME=$H XDG_CONFIG_HOME=$H/.config PLYFS_ROOT=$H/.data
cd $H
plyfs() { $BIN "$@" </dev/null; }
no() { if "$@"; then echo "unexpected: $*"; return 1; fi; }
same() { test "$1" = "$2" || { echo "got:  $1"; echo "want: $2"; exit 1; }; }
has() { grep "$@" >/dev/null; } # and not -q: it would end what it reads from
soon() { local i; for i in $(seq 1500); do if "$@"; then return 0; fi; sleep 0.02; done; echo "never: $*"; return 1; }
begin() {
	local name=$1; shift
	plyfs trace "$@" >$H/$name.out 2>$H/$name.err &
	declare -g pid_$name=$!
	soon grep -q '^plyfs: tracing' $H/$name.err
}
finish() { local p=pid_$1; wait ${!p}; }
`

// each runs a test as root and as an unprivileged user, in a directory of his.
func each(t *testing.T, script string) {
	t.Helper()
	for name, user := range map[string]func(testing.TB) *harness.User{"root": harness.Root, "user": harness.Unprivileged} {
		t.Run(name, func(t *testing.T) {
			require.UserNS(t)
			u := user(t)
			u.Run(t, prelude+script, "H="+u.Dir(t))
		})
	}
}

// TestServers: what a mount has counted outlives its server, a trace goes on with
// the next one, and a mount without a keeper can be looked at, too.
func TestServers(t *testing.T) {
	each(t, `
mkdir l u w m m2; touch l/{a,b,c}
PLYFS_HANG=600 plyfs mount -o lowerdir=l,upperdir=u,workdir=w m
trap '$BIN umount m' EXIT
server() { pgrep -P $(pgrep -n -f "^plyfs-keeper .* m\$"); }
removed() { plyfs metrics | sed -n 's/^plyfs_fuse_requests_total{mount=".*\/m",op="unlink"} //p'; }
begin t --op unlink -n 3 m/
rm m/a; same "$(removed)" 1
old=$(server); kill -9 $old
rm m/b; test $(server) != $old
same "$(removed)" 2
plyfs upgrade m
rm m/c
finish t
same "$(grep -o 'rm UNLINK /. = ok' t.out)" "rm UNLINK /a = ok
rm UNLINK /b = ok
rm UNLINK /c = ok"
kill -STOP $(server)
trap 'kill -CONT $(server); $BIN umount m' EXIT
timeout 300 $BIN stats --no-stream m/ | has "^$H/m "
kill -CONT $(server)
plyfs mount -o lowerdir=l,keeper=off m2
begin n --op lookup --path /absent -n 1 m2/
no test -e m2/absent
finish n
grep -q ' LOOKUP /absent = absent ' n.out
plyfs umount m2`)
}

// TestOthers: another user's mount can't be looked at, and root may look at all.
func TestOthers(t *testing.T) {
	root, u := harness.Root(t), harness.Unprivileged(t)
	stack, mnt := root.NewStack(t, 1)
	stack.More = []string{"allow_other"}
	root.Mount(t, stack, mnt)
	theirs, dir := u.NewStack(t, 1)
	u.Mount(t, theirs, dir)
	u.Run(t, prelude+`
for verb in "stats --no-stream" "top --no-stream" "trace -n 1"; do
	no plyfs $verb $M/ 2>err
	same "$(cat err)" "plyfs: the mount on $M/ can't be looked at: no process that serves it is yours (its user or root may look at it, from outside of containers), or that is of an older plyfs"
done
plyfs stats --no-stream -q >out; grep -qx $T out; no grep -qx $M out
plyfs metrics >out; grep -q "mount=\"$T\"" out; no grep -q "mount=\"$M\"" out`, "H="+u.Dir(t), "M="+mnt, "T="+dir)
	root.Run(t, prelude+`
plyfs stats --no-stream $T/ | has "^$T "
begin t --op mkdir -n 1 $T
setpriv --reuid $UID_ --regid $GID_ --clear-groups mkdir $T/d
finish t
grep -q ' MKDIR /d = ok ' t.out`, "H="+root.Dir(t), "T="+dir, "UID_="+strconv.Itoa(u.UID), "GID_="+strconv.Itoa(u.GID))
}

// TestInside: nobody in a sandbox or a container sees the mounts outside, its own
// root, or anything of them in /proc; not even one that has the host's network and
// the user's own id.
func TestInside(t *testing.T) {
	require.Tool(t, "busybox")
	each(t, `
mkdir l u w m; touch l/a
plyfs mount -o lowerdir=l,upperdir=u,workdir=w m
trap '$BIN umount m' EXIT
inside='
	no() { if "$@"; then echo "unexpected: $*"; exit 1; fi; }
	ls -l /proc/*/fd 2>/dev/null | grep plyfs-meter && exit 1
	P --root /nowhere stats --no-stream -q | grep . && exit 1
	P --root /nowhere metrics -q | grep . && exit 1
	no P trace -n 1 / 2>/dev/null
	no P trace -n 1 MNT/ 2>/dev/null
	no P stats --no-stream MNT/ 2>/dev/null
	echo nothing seen'
check() {
	"$@" >out 2>err || { cat out err; exit 1; }
	grep -qx 'nothing seen' out || { cat out err; exit 1; }
}
for net in host none; do
	text=${inside//P /$BIN }; text=${text//MNT/$H/m}
	check $BIN try --discard --net $net --rw $H/m -- sh -c "$text"
done
mkdir -p r/bin r/proc; cp $(command -v busybox) r/bin/busybox
for p in sh ls grep; do ln -s busybox r/bin/$p; done
text=${inside//P //b/${BIN##*/} }; text=${text//MNT//m}
for userns in private single host; do
	test $userns = host && test $(id -u) != 0 && continue
	check $BIN run --rm --net host --userns $userns --layer $H/r -v ${BIN%/*}:/b:ro -v $H/m:/m sh -c "$text"
done`)
}

// TestContainers: a sandbox and a container in the background, from outside.
func TestContainers(t *testing.T) {
	require.Tool(t, "busybox")
	each(t, `
mkdir -p r/bin go; cp $(command -v busybox) r/bin/busybox
for p in sh mkdir rm sleep test; do ln -s busybox r/bin/$p; done
cat >r/work <<'END'
echo 1 >/first; mkdir /dir; rm /gone
while ! test -e /go/on; do sleep 0.02; done
echo 2 >/dir/second; rm /first
while ! test -e /go/end; do sleep 0.02; done
echo 3 >/last
END
touch r/gone
plyfs run -d --name c --net none -v $H/go:/go --layer $H/r sh -c 'while ! test -e /go/begin; do sleep 0.02; done; . /work' >id
trap 'plyfs rm -f c >/dev/null' EXIT
begin t --op create,mkdir,unlink -n 3 c
plyfs diff --watch c >watch.out 2>watch.err & watch=$!
touch go/begin; finish t
same "$(grep -oE '(CREATE|MKDIR|UNLINK) .* = ok' t.out | tr '\n' ,)" "CREATE /first = ok,MKDIR /dir = ok,UNLINK /gone = ok,"
grep -q ' sh CREATE /first' t.out
soon grep -qx 'A /dir/' watch.out
soon grep -qx 'D /gone' watch.out
soon grep -qx 'A /first' watch.out
touch go/on
soon grep -qx 'U /first' watch.out
soon grep -qx 'A /dir/second' watch.out
plyfs stats --no-stream c | has 'OPS/S'
plyfs stats --no-stream --format '{{.FS.Requests}}' c | has -x '[1-9][0-9]*'
plyfs top --no-stream | has '^c '
plyfs metrics | has '^plyfs_fuse_requests_total{container="c",op="create"} [1-9][0-9]*$'
touch go/end
wait $watch || { cat watch.*; exit 1; }
grep -qx 'A /last' watch.out
no plyfs trace c 2>err; grep -q 'container c is not running' err
same "$(plyfs diff --watch c | sort)" "$(plyfs diff c | sort)"`)
}

// TestPipes: whoever has seen enough of a trace ends it.
func TestPipes(t *testing.T) {
	u := harness.Unprivileged(t)
	stack, mnt := u.NewStack(t, 1)
	if err := os.WriteFile(filepath.Join(stack.Lower[0], "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	u.Mount(t, stack, mnt)
	u.Run(t, prelude+`
mkfifo pipe
plyfs trace $M/ 2>t.err >pipe & trace=$!
exec 5<pipe
soon grep -q tracing t.err
mkdir $M/d
read -r line <&5; test -n "$line"
exec 5<&-
gone() { mkdir $M/e; rmdir $M/e; ! kill -0 $trace 2>/dev/null; }
soon gone
wait $trace || test $? = 141 # SIGPIPE`, "H="+u.Dir(t), "M="+mnt)
}
