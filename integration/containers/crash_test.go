package containers

import (
	"testing"
)

// TestKilledProcesses: whatever of plyfs is killed, the container ends, says so,
// and can be removed; nobody hangs.
func TestKilledProcesses(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		for _, victim := range []string{"Monitor", "Stage", "Init"} {
			t.Run(victim, func(t *testing.T) {
				p.sh(t, `
					pid() { $BIN inspect -f "{{.State.$1.PID}}" v; }
					$RUND --name v sh -c 'while :; do echo x >/f; cat /f >/dev/null; ls / >/dev/null; done' >/dev/null
					init=$(pid Init) stage=$(pid Stage)
					kill -9 $(pid `+victim+`)
					for i in $(seq 100); do [[ -d /proc/$init || -d /proc/$stage ]] || break; sleep 0.1; done
					[[ ! -d /proc/$init && ! -d /proc/$stage ]]
					until s=$($BIN inspect -f '{{.State.Status}} {{.State.ExitCode}}' v); [[ $s != running* ]]; do sleep 0.05; done
					case `+victim+` in
					Monitor) [[ $s = dead* ]]; $BIN ps -a | has Dead; no $BIN exec v true 2>/dev/null; no $BIN wait v 2>/dev/null ;;
					Stage) [[ $s = exited* ]]; $BIN inspect -f '{{.State.Error}}' v | has 'server of the root ended by signal 9' ;;
					Init) [[ $s = 'exited 137' && -z $($BIN inspect -f '{{.State.Error}}' v) ]] ;;
					esac
					$BIN rm v >/dev/null`)
			})
		}
	})
}

// TestKilledForeground: a container in the foreground ends with plyfs, at
// whatever stage of its start that is killed.
func TestKilledForeground(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			mkdir -p $PLYFS_ROOT
			for ms in 1 2 4 6 8 10 12 14 17 20 25 30 40 60 100; do
				$BIN run --name v $FLAGS sleep 1000 & pid=$!
				sleep $(printf 0.%03d $ms); kill -9 $pid; wait $pid 2>/dev/null || true
				all+=" $(ls $PLYFS_ROOT/containers 2>/dev/null || true)"
				for id in $($BIN ps -aq); do
					[[ $($BIN ps -a --format '{{.State}}') != running ]]
					$BIN rm -f $id >/dev/null
				done
			done 2>/dev/null
			for i in $(seq 50); do pgrep -u $(id -u) -f "plyfs-root $PLYFS_ROOT" >/dev/null || break; sleep 0.1; done
			no pgrep -u $(id -u) -f "plyfs-root $PLYFS_ROOT" >/dev/null
			for id in $all; do [[ -z $(find /sys/fs/cgroup -name "plyfs-$id*") ]]; done
			rm -rf $PLYFS_ROOT/containers/.[0-9a-f]*`)
	})
}

// TestManyAtOnce: 200 containers, 20 at a time, leave nothing.
func TestManyAtOnce(t *testing.T) {
	p := newPerson(t, "subids")
	p.prints(t, `for k in $(seq 10); do for i in $(seq 20); do $RUN sh -c 'echo x >/f; cat /f' & done; wait; done | sort | uniq -c | tr -s ' '; ls -A $PLYFS_ROOT/containers`, "200 x")
	root := newPerson(t, "root")
	root.prints(t, `for i in $(seq 20); do $RUN --cidfile $HOME/many$i -m 50m sh -c 'echo x >/f; cat /f' & done | sort | uniq -c | tr -s ' '; wait; ls -A $PLYFS_ROOT/containers; for i in $(seq 20); do find /sys/fs/cgroup -name "plyfs-$(cat $HOME/many$i)*"; done; rm $HOME/many*`, "20 x")
}

// TestTwoAtOnce: commands on one container at the same time leave one outcome.
func TestTwoAtOnce(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `
		for i in $(seq 8); do $RUND --name same sleep 100 >>$HOME/ids 2>/dev/null & done; wait
		[[ $(wc -l <$HOME/ids) = 1 && $($BIN ps -q | wc -l) = 1 ]]; rm $HOME/ids
		for i in $(seq 8); do $BIN rename same name$i & done; wait
		for i in $(seq 8); do $BIN update --pids-limit 5$i $($BIN ps -q) >/dev/null 2>&1 & done; wait
		for i in $(seq 8); do $BIN rm -f $($BIN ps -q) >/dev/null 2>&1 & done; wait
		[[ -z $($BIN ps -aq) ]]`)
}
