package containers

import (
	"testing"
)

// Where a process of plyfs can be killed while a container is made, started,
// ended and removed: the failpoints of package container.
const (
	callerPoints = "create.made create.written create.entered"
	startPoints  = "start.stage start.recorded start.grouped start.told start.payload start.stored"
	otherPoints  = "stage.told stage.init stage.serve init.step init.step::2 init.step::3 init.step::4 init.ready"
	endPoints    = "end.reaped end.stored"
)

// swept wants nothing of this store to run any more, and removes what there is:
// nothing may run, nothing may stay. $1 says where we are.
const swept = `
at() { local n=; [[ $1 != *::* ]] || n=:${1##*::}; echo "${1%%::*}:kill$n"; }
swept() {
	local id s i groups=()
	for i in $(seq 200); do pgrep -u $(id -u) -f "plyfs-(root|monitor|keeper) $PLYFS_ROOT" >/dev/null || break; sleep 0.05; done
	no pgrep -u $(id -u) -af "plyfs-(root|monitor|keeper) $PLYFS_ROOT"
	for id in $($BIN ps -aq); do
		s=$($BIN inspect -f '{{.State.Status}}' $id)
		[[ $s = created || $s = exited || $s = dead ]] || { echo "$1: $s"; exit 1; }
		groups+=(-o -name "plyfs-$id*")
		if $BIN exec $id true 2>/dev/null; then echo "$1: entered"; exit 1; fi
		$BIN rm -f $id >/dev/null || { echo "$1: not removed"; exit 1; }
	done
	[[ -z $($BIN ps -aq) ]]
	[[ -z $(find /sys/fs/cgroup -false "${groups[@]}" 2>/dev/null) ]] || { echo "$1: cgroups"; exit 1; }
	rm -rf $PLYFS_ROOT/containers/.[0-9a-f]*
	[[ -z $(ls -A $PLYFS_ROOT/containers) ]]
}
`

// TestKilledStages: whatever process is killed at whatever stage, what is left
// can be listed and removed, nothing runs, and the next start works.
func TestKilledStages(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		// Each way adds what only it has: root cgroups, one id nothing.
		limits, others, points := "", otherPoints, callerPoints+" "+startPoints
		switch p.name {
		case "root":
			limits, others = "-m 64m", "stage.serve init.step::2"
		case "single":
			others, points = "stage.init", "create.entered start.told start.stored"
		}
		p.sh(t, swept+`
			mkdir -p $PLYFS_ROOT
			for point in `+points+" "+others+" "+endPoints+`; do
				command=true; [[ $point = end.* ]] || command="sleep 1000"
				rc=0; PLYFS_FAIL=$(at $point) timeout 60 $BIN run --name v `+limits+` $FLAGS $command >$HOME/out 2>&1 || rc=$?
				[[ $rc = 137 || $rc = 125 ]] || { echo "$point: code $rc: $(cat $HOME/out)"; exit 1; }
				swept "run $point"
			done
			for point in monitor.begun start.stage start.told start.stored stage.serve init.ready end.reaped; do
				command=true; [[ $point = end.* ]] || command="sleep 1000"
				PLYFS_FAIL=$(at $point) timeout 60 $BIN run -d --name v `+limits+` $FLAGS $command >$HOME/out 2>&1 || true
				swept "run -d $point"
			done
			[[ $($RUN --name v echo fine) = fine ]]
			rm $HOME/out`)
	})
}

// TestKilledRemoval: a removal that was killed is finished by the next one, and
// a terminal's monitor that was takes the command line along.
func TestKilledRemoval(t *testing.T) {
	two(t, func(t *testing.T, p *person) {
		p.sh(t, swept+`
			$BIN run --name v $FLAGS sh -c 'mkdir /d; chmod 0 /d; touch /f'
			PLYFS_FAIL=remove.begun:kill $BIN rm v >/dev/null 2>&1 || true
			[[ -z $($BIN ps -aq) && -n $(ls -A $PLYFS_ROOT/containers) ]]
			touch -d '2 hours ago' $PLYFS_ROOT/containers/.[0-9a-f]*
			$RUN true; [[ -z $(ls -A $PLYFS_ROOT/containers) ]]
			for point in start.stage start.payload start.stored init.ready stage.serve; do
				rc=0; script -qec "PLYFS_FAIL=$point:kill timeout --foreground 60 $BIN run -it --name v $FLAGS sleep 1000" /dev/null </dev/null >$HOME/out || rc=$?
				[[ $rc = 125 || $rc = 137 ]] || { echo "run -it $point: $rc: $(cat $HOME/out)"; exit 1; }
				swept "run -it $point"
			done; rm $HOME/out`)
	})
}

// TestKilledExec: whoever executes a command and is killed leaves the container
// as it was, and nothing in it.
func TestKilledExec(t *testing.T) {
	two(t, func(t *testing.T, p *person) {
		p.sh(t, `
			$RUND --name e sleep 1000 >/dev/null
			for point in exec.entered exec.started; do
				PLYFS_FAIL=$point:kill timeout 60 $BIN exec e sleep 999 >/dev/null 2>&1 && exit 1
				script -qec "PLYFS_FAIL=$point:kill timeout --foreground 60 $BIN exec -it e sleep 999" /dev/null </dev/null >/dev/null && exit 1
				for i in $(seq 100); do [[ $($BIN top e | wc -l) = 2 ]] && break; sleep 0.05; done
				[[ $($BIN top e | wc -l) = 2 && $($BIN exec e echo fine) = fine ]]
			done
			$BIN rm -f e >/dev/null`)
	})
}
