//go:build vm

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// limits are tried by everybody who has them: root and the user with a systemd
// by its scopes, the lone one in a cgroup that root has given him.
const limits = `
# Memory: the kernel ends the command, and it is said.
$RUND --name m -m 24m --memory-swap 24m sh -c 'dd if=/dev/zero of=/dev/null bs=128M count=1' >/dev/null
want "$($BIN wait m) $(state m OOMKilled)" '137 true'
$BIN rm m >/dev/null

# Processors: it was stopped for a while, and used not more than was allowed.
$RUND --name c --cpus 0.2 --cpu-shares 512 --pids-limit 7 -m 64m sh -c 'while :; do :; done' >/dev/null
d=$(dir c)
want "$(cat $d/cpu.max) $(cat $d/pids.max) $(cat $d/memory.max) $(cat $d/cpu.weight)" '20000 100000 7 67108864 20'
soon eval '(($(field $d/cpu.stat nr_throttled) > 9))'
(($(field $d/cpu.stat usage_usec) < $(field $d/cpu.stat nr_periods) * 30000 + 100000))

# The server of its root is elsewhere, and so is its monitor.
for w in Stage Monitor; do [[ $(dir c $w)/ != $d/* ]]; done

# The same files tell what it uses, and take other limits.
$BIN stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' c | grep -qE '^c [0-9.]+[KM]iB / 64MiB 1$'
$BIN update -m 32m --cpus 0.5 --pids-limit 9 c >/dev/null
want "$(cat $d/cpu.max) $(cat $d/pids.max) $(cat $d/memory.max)" '50000 100000 9 33554432'
no $BIN update -m 2m c 2>/dev/null

# A command that is executed is in the same group.
$BIN exec c sleep 50 & soon eval '(($(wc -l <$d/cgroup.procs) == 2))'

# Stopped as a whole, and going on.
$BIN pause c >/dev/null
want "$(field $d/cgroup.events frozen) $(state c Status)" '1 paused'
a=$(field $d/cpu.stat usage_usec); sleep 0.3; want "$(field $d/cpu.stat usage_usec)" $a
$BIN unpause c >/dev/null
want "$(field $d/cgroup.events frozen) $(state c Status)" '0 running'
$BIN pause c >/dev/null
$BIN rm -f c >/dev/null
soon test ! -e $d

# A root without a server, and a command that is started again.
want "$($BIN run --rm --net none $FLAGS --rootfs $LAYER -m 64m true 2>&1)" ''
$RUND --name r -m 64m --restart on-failure:2 sh -c 'exit 3' >/dev/null
soon eval '[[ "$(state r Restarts) $(state r Status)" == "2 exited" ]]' # it ends a third time
want "$(state r ExitCode) $(state r Error)" '3 '
$BIN rm r >/dev/null

# Processes.
want "$($RUN --pids-limit 5 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait' 2>&1 | grep -c "can't fork")" 1
`

func TestLimitsOfRoot(t *testing.T) {
	p := newPerson(t, superuser)
	p.sh(t, limits)
	p.sh(t, `
		$RUND --name s --cpuset-cpus 1 --cpuset-mems 0 sleep 100 >/dev/null
		d=$(dir s); want "$(cat $d/cpuset.cpus.effective) $(cat $d/cpuset.mems)" '1 0'
		$BIN update --cpuset-cpus 0 s >/dev/null; want "$(cat $d/cpuset.cpus.effective)" 0
		want "$(basename $(dirname $d)) $(basename $d)" "plyfs-$($BIN inspect -f '{{.ID}}' s).scope payload"
		$BIN rm -f s >/dev/null`)
}

// TestDisk: what is read from a disk is slowed down and counted, and huge pages
// are limited. The disk of programs stands for one.
func TestDisk(t *testing.T) {
	p := newPerson(t, superuser)
	p.sh(t, `
		dev=$(cat /sys/block/vdb/dev); echo 3 >/proc/sys/vm/drop_caches
		$RUND --name d --userns host --device /dev/vdb --device-read-bps /dev/vdb:1m --device-write-iops /dev/vdb:7 --hugetlb 2MB=4m \
			dd if=/dev/vdb of=/dev/null bs=256k count=16 >/dev/null
		d=$(dir d); want "$(cat $d/io.max)" "$dev rbps=1048576 wbps=max riops=max wiops=7"
		want "$(cat $d/hugetlb.2MB.max)" 4194304
		soon eval '(($(grep -o "^$dev rbytes=[0-9]*" $d/io.stat | cut -d= -f2) > 1000000))'
		$BIN stats --no-stream --format '{{.BlockIO}}' d | grep -q MiB
		want "$($BIN wait d)" 0
		$BIN rm d >/dev/null`)
}

func TestLimitsOfUsers(t *testing.T) {
	p := newPerson(t, tenant)
	p.sh(t, `$BIN doctor | grep -q '^! limits of containers: memory, cpu, pids (a scope of systemd); not enforced: cpuset, io, hugetlb$'`)
	p.sh(t, limits)
	// As somebody who logs in: the process can't be moved by him.
	p.sh(t, `
		$RUND --name u -m 64m -u app sleep 100 >/dev/null
		d=$(dir u); [[ $d == */user@$UID.service/*/plyfs-*.scope/payload ]] || { echo $d; exit 1; }
		want "$($BIN exec u sh -c 'cat /proc/self/cgroup')" 0::/
		want "$($RUN --cpuset-cpus 0 true 2>&1 | cut -d: -f1-3)" "plyfs: cpuset-cpus is not enforced: systemd doesn't hand the cgroup controller cpuset down to you"
		$BIN rm -f u >/dev/null`)
	p.flags = "--userns single"
	p.sh(t, `$RUND --name u -m 64m sleep 100 >/dev/null; want "$(cat $(dir u)/memory.max)" 67108864; $BIN rm -f u >/dev/null`)
}

// TestDelegated: a cgroup that root gives to a user is enough.
func TestDelegated(t *testing.T) {
	const top = "/sys/fs/cgroup/given"
	p := newPerson(t, lone)
	const unlimited = `$RUN -m 64m --pids-limit 9 true 2>&1`
	out := p.sh(t, unlimited)
	for _, limit := range []string{"memory", "pids-limit"} {
		if !strings.Contains(out, "plyfs: "+limit+" is not enforced: the cgroup controller ") || strings.Count(out, "\n") != 1 {
			t.Errorf("without a cgroup: %q", out)
		}
	}
	// Others systemd, whose top this is, would take back at its next unit.
	write(t, "/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu")
	leaf := filepath.Join(top, "leaf")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{top, top + "/cgroup.procs", top + "/cgroup.subtree_control", top + "/cgroup.threads", leaf, leaf + "/cgroup.procs"} {
		if err := os.Chown(file, p.UID, p.GID); err != nil {
			t.Fatal(err)
		}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(strings.TrimSpace(string(own)), "0::"))
	// Who is in it when he starts containers: we for a moment, with them.
	write(t, leaf+"/cgroup.procs", "0")
	t.Cleanup(func() {
		write(t, home+"/cgroup.procs", "0")
		for _, dir := range []string{leaf, top} {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	p.sh(t, limits)
}
