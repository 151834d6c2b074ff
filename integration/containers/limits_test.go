package containers

import (
	"os"
	"strings"
	"testing"
)

// v1 says whether a controller is in a version 1 hierarchy here.
func v1(controller string) bool {
	text, _ := os.ReadFile("/proc/self/cgroup")
	return strings.Contains(string(text), ":"+controller+":")
}

// TestLimits: as root limits hold, whatever version of cgroups has them.
func TestLimits(t *testing.T) {
	p := newPerson(t, "root")
	p.sh(t, `
		$RUND --name m -m 12m sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' >/dev/null
		[[ $($BIN wait m) = 137 && $($BIN inspect -f '{{.State.OOMKilled}}' m) = true ]]
		$BIN rm m`)
	p.prints(t, `$RUN --pids-limit 5 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 30 & done 2>&1; wait' 2>&1 | grep -c "can't fork"`, "1")
	// Our own threads are no part of it, and never die of it.
	p.prints(t, `for n in 1 2 3; do $RUN --pids-limit $n sh -c 'exec echo one' 2>&1; $RUN --init --pids-limit $n sh -c 'exec echo fine' 2>&1; done`, "one\nfine\none\nfine\none\nfine")
	p.prints(t, `$RUND --name f --pids-limit 2 sh -c 'sleep 1000 & wait' >/dev/null
		for i in $(seq 100); do [[ $($BIN top f | wc -l) = 3 ]] && break; sleep 0.05; done
		for i in 1 2 3 4 5; do $BIN exec f echo there 2>&1; done; $BIN exec f sh -c 'sleep 1 & wait' 2>&1 | grep -c "can't fork"; $BIN rm -f f >/dev/null`,
		"there\nthere\nthere\nthere\nthere\n1")
	p.prints(t, `$RUN sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait' 2>&1`, "")
	p.sh(t, `
		$RUND --name s -m 64m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 20 sh -c 'while :; do :; done' >/dev/null
		$BIN stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' s | has -E '^s .* / 64MiB 1$'
		$BIN update -m 32m --pids-limit 30 s >/dev/null
		$BIN stats --no-stream --format '{{.MemUsage}}' | has '/ 32MiB'
		$BIN pause s >/dev/null; [[ $($BIN ps --format '{{.State}}') = paused ]]
		no $BIN exec s true 2>/dev/null; no $BIN pause s 2>/dev/null
		a=$($BIN top s | awk 'NR==2 {print $4}'); sleep 0.3; [[ $($BIN top s | awk 'NR==2 {print $4}') = $a ]]
		$BIN unpause s >/dev/null; [[ $($BIN ps --format '{{.State}}') = running ]]
		$BIN pause s >/dev/null; $BIN rm -f s`)
	if v1("cpu") {
		p.prints(t, `$RUND --name v --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 sleep 100 >/dev/null
			pid=$($BIN inspect -f '{{.State.Init.PID}}' v)
			at() { echo /sys/fs/cgroup/$1$(awk -F: -v c=$1 '$2 == c {print $3}' /proc/$pid/cgroup)/$2; }
			cat $(at cpu cpu.cfs_quota_us) $(at cpu cpu.shares) $(at cpuset cpuset.cpus); $BIN rm -f v >/dev/null`, "50000\n512\n0")
	}
	if v1("blkio") {
		// A kernel has the weight of BFQ, that of CFQ (before 5.0), or none, which is told.
		p.prints(t, `$RUND --name w --blkio-weight 300 sleep 100 >/dev/null 2>$HOME/said
			pid=$($BIN inspect -f '{{.State.Init.PID}}' w)
			cd /sys/fs/cgroup/blkio$(awk -F: '$2 == "blkio" {print $3}' /proc/$pid/cgroup)
			if [[ -e blkio.bfq.weight || -e blkio.weight ]]; then
				cat blkio.bfq.weight 2>/dev/null || cat blkio.weight; cat $HOME/said
			else
				sed -n 's/.*blkio-weight.*/300/p' $HOME/said
			fi
			cd /; $BIN rm -f w >/dev/null`, "300")
	}
	// Its groups go with it; those of other people's containers are theirs.
	p.sh(t, `id=$($RUND --name g -m 64m --pids-limit 20 sleep 100)
		[[ -n $(find /sys/fs/cgroup -name "plyfs-$id*" 2>/dev/null) ]]
		$BIN rm -f g >/dev/null; [[ -z $(find /sys/fs/cgroup -name "plyfs-$id*" 2>/dev/null) ]]`)
}

// TestServerIsElsewhere: the payload's limits are not those of its root's
// server.
func TestServerIsElsewhere(t *testing.T) {
	p := newPerson(t, "root")
	p.prints(t, `$RUND --name s -m 64m sleep 100 >/dev/null
		for w in Init Stage; do grep -qE 'plyfs-[0-9a-f]+(|.scope/payload)$' /proc/$($BIN inspect -f "{{.State.$w.PID}}" s)/cgroup && echo $w; done; $BIN rm -f s >/dev/null`, "Init")
}

// TestLimitsOfUsers: a limit that isn't enforced is named, with the reason.
func TestLimitsOfUsers(t *testing.T) {
	if !v1("memory") {
		t.Skip("this machine has no version 1 hierarchy that keeps users out")
	}
	p := newPerson(t, "subids")
	p.prints(t, `$RUN -m 64m true 2>&1 | cut -d'(' -f1`, "plyfs: memory is not enforced: the cgroup controller memory is in a version 1 hierarchy, where only root may make groups")
	p.prints(t, `$RUN true 2>&1`, "")
	p.prints(t, `$RUND --name x sleep 100 >/dev/null; $BIN pause x 2>&1; $BIN stats --no-stream --format '{{.CPUPerc}}'; $BIN rm -f x >/dev/null`,
		"plyfs: container x: no cgroup of the container can be frozen: as a user that needs a delegated cgroup version 2\n--")
}
