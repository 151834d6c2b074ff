package containers

import (
	"testing"
)

// TestLife: a container in the background from its start to its removal.
func TestLife(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			id=$($RUND --name one --label a=b --cidfile $HOME/cid --pidfile $HOME/pid sh -c 'echo out; echo err >&2; trap "echo bye; exit 7" TERM; while :; do sleep 0.05; done')
			[[ ${#id} = 64 && $(cat $HOME/cid) = $id && -d /proc/$(cat $HOME/pid) ]]
			rm $HOME/cid $HOME/pid
			[[ $($BIN ps -q) = ${id:0:12} && $($BIN ps -q --no-trunc) = $id ]]
			[[ $($BIN ps --format '{{.Names}} {{.State}} {{.Labels}}') = "one running a=b" ]]
			$BIN ps --format json | has '"Names":"one"'
			until [[ $($BIN logs one 2>&1 | wc -l) = 2 ]]; do sleep 0.05; done
			[[ $($BIN logs one 2>/dev/null) = out && $($BIN logs one 2>&1 >/dev/null) = err ]]
			$BIN logs -t one 2>/dev/null | has -E '^[0-9-]{10}T[0-9:.]+Z out$'
			no $BIN rm one 2>$HOME/err; grep -q 'stop it first' $HOME/err
			no $BIN rename one ../x 2>/dev/null
			$BIN rename one two
			no $BIN inspect one 2>/dev/null
			[[ $($BIN inspect -f '{{.State.Status}}' ${id:0:5}) = running ]]
			$BIN top two | has 'sh -c echo out'
			$BIN logs -f two >$HOME/log & follower=$!
			$BIN wait two >$HOME/code & waiter=$!
			[[ $($BIN stop two) = two ]]
			wait $follower $waiter
			[[ $(cat $HOME/code) = 7 && $(cat $HOME/log) = $'out\nbye' ]]
			[[ $($BIN logs -n 1 two 2>/dev/null) = bye ]]
			[[ $($BIN ps -a --format '{{.Status}}') = 'Exited (7) '* && -z $($BIN ps -q) ]]
			no $BIN exec two true 2>$HOME/err; grep -q 'is not running' $HOME/err
			no $BIN kill two 2>/dev/null
			[[ $($BIN rm two) = two ]]
			$BIN rm two 2>$HOME/err && exit 1; grep -q 'no such container' $HOME/err
			$BIN rm -f two`)
	})
}

// TestKill: signals by name and number, a stop that is ignored, and removal by
// force.
func TestKill(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			$RUND --name k sh -c 'trap "exit 5" USR1; while :; do sleep 0.05; done' >/dev/null
			sleep 0.2; $BIN kill -s usr1 k >/dev/null; [[ $($BIN wait k) = 5 ]]; $BIN rm k >/dev/null
			$RUND --name k sleep 100 >/dev/null; $BIN stop -t 0 k >/dev/null; [[ $($BIN wait k) = 137 ]]; $BIN rm k >/dev/null
			$RUND --name k --stop-signal KILL sleep 100 >/dev/null; $BIN stop k >/dev/null; [[ $($BIN wait k) = 137 ]]; $BIN rm k >/dev/null
			$RUND --name k sleep 100 >/dev/null; $BIN rm -f k >/dev/null
			$BIN run -d --rm --name k $FLAGS sleep 0.2 >/dev/null; [[ $($BIN wait k) = 0 ]]
			while $BIN inspect k >/dev/null 2>&1; do sleep 0.05; done
			no $RUND --name k nosuch 2>/dev/null; [[ $($BIN inspect -f '{{.State.Status}} {{.State.ExitCode}}' k) = 'exited 127' ]]
			no $RUND --name k true 2>$HOME/err; grep -q 'the name k is taken' $HOME/err
			$BIN rm k`)
	})
}

func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			$RUND --name r --restart on-failure:2 sh -c 'echo run; exit 3' >/dev/null
			until [[ $($BIN inspect -f '{{.State.Restarts}} {{.State.Status}}' r) = '2 exited' ]]; do sleep 0.1; done
			[[ $($BIN logs r) = $'run\nrun\nrun' ]]
			$BIN rm r`)
	})
}

// TestExec: a second command has the rights of the first, and no more.
func TestExec(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `$RUND --name e -e A=1 -w /tmp sleep 1000 >/dev/null`)
		p.prints(t, `$BIN exec -e B=2 e sh -c 'pwd; echo $A$B; id -u; cat /proc/1/cmdline | tr "\0" " "'`, "/tmp\n12\n0\nsleep 1000")
		p.prints(t, `for f in Cap NoNewPrivs Seccomp: Groups; do $BIN exec e sh -c "diff() { [ \"\$1\" = \"\$2\" ] || echo \$1 and \$2; }; diff \"\$(grep $f /proc/1/status)\" \"\$(grep $f /proc/self/status)\""; done`, "")
		p.prints(t, `$BIN exec e sh -c 'for n in cgroup ipc mnt net pid time user uts; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done'`, "")
		p.prints(t, `$BIN exec e sh -c 'exit 7'; echo $?; $BIN exec e sh -c 'kill -9 $$'; echo $?; $BIN exec e nosuch 2>/dev/null; echo $?; $BIN exec e /etc/passwd 2>/dev/null; echo $?; $BIN exec -w /nosuch e true 2>/dev/null; echo $?; $BIN exec nosuch true 2>/dev/null; echo $?`, "7\n137\n127\n126\n126\n125")
		p.prints(t, `echo in | $BIN exec -i e cat; $BIN exec e sh -c 'ls /proc/$$/fd; true' | tr '\n' ' '`, "in\n0 1 2")
		p.prints(t, `script -qec "$BIN exec -it e sh -c 'tty; : </dev/tty && echo controlled'" /dev/null </dev/null | tr -d '\r' | sed 's/\^@//'`, "/dev/pts/0\ncontrolled")
		if p.name != "single" {
			p.prints(t, `$BIN exec -u app e id -u`, "1000")
		}
		// Many at once: the fork in Go must hold.
		p.prints(t, `for i in $(seq 20); do $BIN exec e sh -c "exit $i" || echo $? & done | sort -n | tr '\n' ' '; wait`, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20")
		p.sh(t, `$BIN rm -f e`)
	})
}

func TestCopy(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			$RUND --name c sh -c 'mkdir -p /d/e; echo one >/d/e/f; chmod 600 /d/e/f; ln -s /etc/shadow /d/l; echo made; sleep 1000' >/dev/null
			until $BIN logs c | has made; do sleep 0.05; done
			mkdir $HOME/to; cd $HOME/to
			$BIN cp c:/d .; [[ $(cat d/e/f) = one && $(stat -c %a d/e/f) = 600 && $(readlink d/l) = /etc/shadow ]]
			$BIN cp c:/d/e/f name; [[ $(cat name) = one ]]
			$BIN cp c:/d - | tar t | grep -x d/e/f >/dev/null
			echo two >name; $BIN cp name c:/new; $BIN cp name c:/d/; [[ $($BIN exec c cat /new /d/name) = $'two\ntwo' ]]
			$BIN cp d c:/tmp; [[ $($BIN exec c cat /tmp/d/e/f) = one ]]
			tar c name | $BIN cp - c:/tmp; [[ $($BIN exec c cat /tmp/name) = two ]]
			no $BIN cp c:/nosuch . 2>$HOME/err; grep -q 'no such file' $HOME/err
			no $BIN cp name c:/nosuch/x 2>/dev/null; no $BIN cp c:/a c:/b 2>/dev/null
			cd; rm -r to; $BIN rm -f c`)
	})
}

// TestCopyStopped: a container that has ended, or never started, is copied from
// and to as one that runs, no link of it leads out, and it starts no program.
func TestCopyStopped(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			mkdir $LAYER/../vol; echo vol >$LAYER/../vol/f; echo keep >$LAYER/etc/kept; chmod 4640 $LAYER/etc/kept
			$BIN run --name c $FLAGS -v $LAYER/../vol:/vol sh -c 'mkdir -p /d/e; echo one >/d/e/f; chmod 600 /d/e/f; ln -s /etc/shadow /d/l; ln -s / /up; ln -s ../../../../etc /out; rm /bin/sh'
			mkdir $HOME/to; cd $HOME/to
			$BIN cp c:/d .; [[ $(cat d/e/f) = one && $(stat -c %a d/e/f) = 600 && $(readlink d/l) = /etc/shadow ]]
			$BIN cp c:/d - | tar t | grep -x d/e/f >/dev/null
			$BIN cp c:/vol/f v; [[ $(cat v) = vol ]]
			$BIN cp c:/out/kept k; [[ $(cat k) = keep ]]
			no $BIN cp c:/up/../../../..$HOME/to/k . 2>$HOME/err; grep -q 'no such file' $HOME/err
			echo two >name; $BIN cp name c:/new; $BIN cp name c:/d/; $BIN cp name c:/out/name; $BIN cp d c:/tmp; tar c name | $BIN cp - c:/tmp
			[[ ! -e /etc/name && ! -e $LAYER/new ]]
			for f in new d/name etc/name tmp/d/e/f tmp/name; do $BIN cp c:/$f - | tar xO; done >all; [[ $(cat all) = $'two\ntwo\ntwo\none\ntwo' ]]
			no $BIN cp c:/nosuch . 2>$HOME/err; grep -q '^plyfs: .*no such file' $HOME/err
			no $BIN cp name c:/nosuch/x 2>$HOME/err; grep -q '^plyfs: in the container: .*no such file' $HOME/err
			[[ $($BIN inspect -f '{{.State.Status}} {{.State.ExitCode}}' c) = 'exited 0' ]]
			$BIN rm c >/dev/null
			# Read-only means it here, too.
			$BIN run --name c --read-only $FLAGS true
			no $BIN cp name c:/new 2>$HOME/err; grep -qi 'read-only' $HOME/err; $BIN cp c:/etc/kept k2; [[ $(cat k2) = keep ]]
			$BIN rm c >/dev/null
			# Never started: the command is missing.
			rc=0; $BIN run --name c $FLAGS nosuch 2>/dev/null || rc=$?; [[ $rc = 127 ]]
			$BIN cp name c:/new; $BIN cp c:/new got; [[ $(cat got) = two ]]; $BIN rm c >/dev/null
			$BIN run --name c --rootfs $LAYER --net none `+p.flags+` true
			$BIN cp name c:/tmp/new; [[ $(cat $LAYER/tmp/new) = two ]]; rm $LAYER/tmp/new; $BIN rm c >/dev/null
			cd; rm -r to`)
	})
}

// TestLogRotation: a log has an end.
func TestLogRotation(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `
		$RUND --name l sh -c 'i=0; while [ $i -lt 9 ]; do head -c 2000000 /dev/zero | tr "\0" x; echo; i=$((i+1)); done; echo last' >/dev/null
		$BIN wait l >/dev/null
		[[ $(du -sb $PLYFS_ROOT/containers/*/log | cut -f1) -lt 11000000 && -e $(echo $PLYFS_ROOT/containers/*/log.1) ]]
		[[ $($BIN logs -n 1 l) = last ]]
		$BIN logs l | wc -c | has -E '^1[0-9]{7}$'
		$BIN rm l`)
}
