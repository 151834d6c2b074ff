package keeper

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// everyone runs a test as root and as an unprivileged user.
func everyone(t *testing.T, test func(t *testing.T, u *harness.User)) {
	t.Helper()
	t.Run("root", func(t *testing.T) { test(t, harness.Root(t)) })
	t.Run("user", func(t *testing.T) { test(t, harness.Unprivileged(t)) })
}

// script mounts a stack with a log, runs a script in it with $M, $L (the log) and
// $D (the stack's directory), and unmounts.
func script(t *testing.T, u *harness.User, env, text string) {
	t.Helper()
	stack, mnt := u.NewStack(t, 1)
	dir := filepath.Dir(mnt)
	u.Run(t, `touch `+stack.Lower[0]+`/{a,b,c,d}
		`+env+` $BIN mount --log $D/log -o `+stack.Options()+` $M
		trap '$BIN umount $M || $BIN umount -l $M' EXIT
		L=$D/log
		server() { pgrep -P $(pgrep -n -f "^plyfs-keeper .*$M\$"); }
		no() { if "$@"; then echo "unexpected: $*"; return 1; fi; }
		`+strings.ReplaceAll(text, "\n", "\n\t\t"), "M="+mnt, "D="+dir)
}

// TestPoison: a request that servers crash on is answered EIO at last, and the
// mount goes on.
func TestPoison(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "PLYFS_FAIL_ALWAYS=unlink.begin:crash", `
no timeout 20 rm $M/a 2>$D/err
grep -q 'Input/output error' $D/err
grep -q 'UNLINK of node .* is answered with an error: servers died on it' $L
test -e $M/a && echo text >$M/new && test "$(cat $M/new)" = text`)
	})
}

// TestGiveUp: when servers crash again and again, clients get an error and
// nobody hangs.
func TestGiveUp(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "PLYFS_FAIL_ALWAYS=unlink.begin:crash", `
for f in a b c; do no timeout 20 rm $M/$f 2>>$D/err; done
grep -q 'servers died 5 times in a minute: the mount is given up' $L
no timeout 5 ls $M 2>$D/err
grep -q 'Transport endpoint is not connected' $D/err
no pgrep -f "^plyfs.*$M\$"`)
	})
}

// TestHang: a server that hangs says what it is doing and is replaced.
func TestHang(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "PLYFS_HANG=1 PLYFS_FAIL=unlink.begin:hang", `
old=$(server)
timeout 60 rm $M/a
test $(server) != $old
no test -e $M/a
grep -q 'has begun nothing for 1s while a request waits' $L
grep -q '^goroutine ' $L && grep -q 'fs/union.(\*FS).Unlink' $L`)
		script(t, u, "PLYFS_HANG=1", `
kill -STOP $(server)
timeout 30 cat $M/a
test -e $M/b`)
	})
}

// TestUpgrade: a mount is handed to another program, or kept when that is none.
func TestUpgrade(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "", `
old=$(server); exec 5<>$M/a; rm $M/a; echo one >&5
cp $BIN $D/other
$D/other upgrade $M
test $(server) != $old
readlink /proc/$(server)/exe | grep -q other
echo two >&5
test $(stat -Lc %s /proc/self/fd/5) = 8
kill -9 $(server); test -e $M/b
readlink /proc/$(server)/exe | grep -q other
$BIN upgrade --all
readlink /proc/$(server)/exe | grep -q 'bin/plyfs'
no $BIN upgrade $D 2>$D/err; grep -q 'nothing is mounted on' $D/err
exec 5>&-`)
	})
}

// TestUpgradeRefused: a program that can't read what the server has written says so,
// and that server goes on.
func TestUpgradeRefused(t *testing.T) {
	old := harness.BuildWith(t, "./cmd/plyfs", "plyfs-old", "github.com/plyfs/plyfs/cmd/internal/kept.newest", "0")
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "", `
server >$D/pid; exec 5<>$M/a; rm $M/a; echo one >&5
no "`+old+`" upgrade $M 2>$D/err
grep -q 'has format 1, and this plyfs reads up to 0: .*; the server that runs goes on' $D/err
test $(server) = $(cat $D/pid)
echo two >&5; echo x >$M/x
test $(stat -Lc %s /proc/self/fd/5) = 8
kill -9 $(server); test "$(cat $M/x)" = x
readlink /proc/$(server)/exe | grep -q 'bin/plyfs'
exec 5>&-`)
	})
}

// TestKeeperGone: a server whose keeper was killed goes on.
func TestKeeperGone(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "", `
kill -9 $(pgrep -n -f "^plyfs-keeper .*$M\$")
echo x >$M/x; rm $M/a; test "$(cat $M/x)" = x`)
	})
}

// TestGoneBeforeTheKeeper: a keeper whose mount went while no server was there
// doesn't take the next mount, which has the device's number, for its own.
func TestGoneBeforeTheKeeper(t *testing.T) {
	u := harness.Root(t) // fusectl is root's
	const ctl = "/sys/fs/fuse/connections"
	if err := unix.Mount("none", ctl, "fusectl", 0, ""); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(ctl, 0) })
	} else if err != unix.EBUSY { // it is there already
		t.Fatalf("%s: %v", ctl, err)
	}
	script(t, u, "", `
keeper=$(pgrep -n -f "^plyfs-keeper .*$M\$"); server=$(server); dev=$(stat -c %d $M)
kill -STOP $keeper $server
umount -l $M; kill -9 $server
for f in /proc/$keeper/fd/*; do case $(readlink $f) in *memfd*) head -c 4096 /dev/zero 1<>$f;; esac; done # no server can go on
mkdir $D/low $D/next
for i in $(seq 200); do # the lowest number that is free
	$BIN mount -o lowerdir=$D/low,keeper=off $D/next
	test $(stat -c %d $D/next) != $dev || break
	$BIN umount $D/next; sleep 0.1
done
test $(stat -c %d $D/next) = $dev
kill -CONT $keeper
for i in $(seq 300); do kill -0 $keeper 2>/dev/null || break; sleep 0.1; done
ls $D/next
grep -q 'cannot start another server' $L
$BIN umount $D/next
$BIN mount -o lowerdir=$D/low $M`)
}

// TestNoResend: where the kernel sends nothing again (before 6.9) who waits for a server
// that dies gets an error, and everything else goes on.
func TestNoResend(t *testing.T) {
	everyone(t, func(t *testing.T, u *harness.User) {
		script(t, u, "PLYFS_NO_RESEND=1 PLYFS_FAIL=unlink.begin:hang", `
mkdir $M/dir; exec 5<>$M/b; echo one >&5
for n in 1 2 3; do
	rm $M/a 2>$D/err & rm=$!
	old=$(server)
	# It is in the server's hand when it stays in one call while others are answered:
	# in another directory, as its own is locked.
	was= same=0
	while [ $n = 1 ] && [ $same -lt 4 ]; do
		no test -e $M/dir/none$RANDOM
		is=$(cat /proc/$rm/syscall)
		if [ "$is" = "$was" ] && [ "$is" != running ]; then same=$((same + 1)); else same=0; fi
		was=$is
	done
	kill -9 $old
	if wait $rm; then rm=0; else rm=1; fi
	if [ $n = 1 ]; then
		test $rm = 1; grep -q 'Software caused connection abort' $D/err; test -e $M/a
	fi
	echo more >&5; echo $n >$M/new$n; test "$(cat $M/new$n)" = $n
	test $(server) != $old
done
no test -e $M/a
test $(stat -Lc %s /proc/self/fd/5) = 19
exec 5>&-
no $BIN upgrade $M 2>$D/err
grep -q "before 6.9) doesn't send again" $D/err`)
	})
}

// TestForeground: a keeper that can't be had isn't silently left out.
func TestForeground(t *testing.T) {
	u := harness.Unprivileged(t)
	stack, mnt := u.NewStack(t, 1)
	u.Run(t, `for flag in -f -d; do
		if timeout 60 $BIN mount $flag -o keeper=on,`+stack.Options()+` $M 2>$D/err; then exit 1; fi
		grep -q "keeper=on can't be had in the foreground" $D/err
	done`, "M="+mnt, "D="+filepath.Dir(mnt))
}
