package containers

import "testing"

// TestMoreFlags: what is left of the list, each with a run.
func TestMoreFlags(t *testing.T) {
	two(t, func(t *testing.T, p *person) {
		p.sh(t, `echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}' >$LAYER/../profile
			mkdir $LAYER/../vol; printf '#!/bin/sh\necho ran\n' >$LAYER/../vol/x; chmod 755 $LAYER/../vol/x`)
		for _, c := range [][3]string{
			{"seccomp profile", `--security-opt seccomp=$LAYER/../profile sh -c 'mkdir /x 2>&1; grep Seccomp: /proc/self/status'`, "mkdir: can't create directory '/x': No space left on device\nSeccomp:\t2"},
			{"volume noexec", `-v $LAYER/../vol:/v:ro,noexec sh -c '/v/x 2>&1; sh /v/x; touch /v/y 2>&1'`, "sh: /v/x: Permission denied\nran\ntouch: /v/y: Read-only file system"},
			{"tmpfs options", `--tmpfs /t:ro --tmpfs /n:noexec,size=1mb sh -c 'touch /t/x 2>&1; printf "echo ran\\n" >/n/x; chmod 755 /n/x; cp /bin/busybox /n/b 2>&1; /n/x 2>&1'`, "touch: /t/x: Read-only file system\ncp: write error: No space left on device\nsh: /n/x: Permission denied"},
			{"paths unmasked", `--security-opt systempaths=unconfined sh -c 'grep -c " /proc/[a-z]* " /proc/self/mountinfo'`, "0"},
			{"paths masked", `sh -c '[ $(grep -c " /proc/[a-z]* " /proc/self/mountinfo) -gt 2 ] && echo masked'`, "masked"},
			{"environment of the caller", `-e FROM_HERE -e NOT_THERE sh -c 'echo $FROM_HERE-${NOT_THERE-unset}'`, "here-unset"},
			{"restart no", `--restart no true`, ""},
			{"userns single", `--userns single sh -c 'wc -l </proc/self/uid_map; tr -s " " </proc/self/uid_map | cut -d" " -f4'`, "1\n1"},
			{"ids map", `--ids map id -u`, "0"},
			{"time namespace", `sh -c '[ $(readlink /proc/self/ns/time) = $(readlink /proc/1/ns/time) ] && echo one'`, "one"},
		} {
			t.Run(c[0], func(t *testing.T) { p.prints(t, "export FROM_HERE=here; $RUN "+c[1], c[2]) })
		}
		p.prints(t, `for f in "--cpus 0.5" "--cpu-shares 512" "--cpuset-cpus 0" "--pids-limit 50" "-m 64m --memory-swap 64m" "-m 64m --memory-swap -1"; do $RUN $f echo $f 2>/dev/null; done`,
			"--cpus 0.5\n--cpu-shares 512\n--cpuset-cpus 0\n--pids-limit 50\n-m 64m --memory-swap 64m\n-m 64m --memory-swap -1")
	})
}

// TestSeveral: wait for several, stop with their own time, and what of a log is
// shown.
func TestSeveral(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `
		$RUND --name a sh -c 'exit 3' >/dev/null; $RUND --name b sh -c 'sleep 0.3; exit 4' >/dev/null; $RUND --name c --stop-timeout 1 sh -c 'trap "" TERM; echo on; while :; do sleep 0.05; done' >/dev/null
		[[ $($BIN wait a b) = $'3\n4' ]]
		until $BIN logs c | has on; do sleep 0.05; done
		SECONDS=0; $BIN stop c >/dev/null; ((SECONDS < 8)); [[ $($BIN wait c a) = $'137\n3' ]]
		[[ $($BIN wait a nobody 2>/dev/null) = 3 ]]; no $BIN wait a nobody 2>/dev/null
		$BIN rm a b c >/dev/null
		$RUND --name l sh -c 'echo one; echo err >&2; sleep 0.4; echo two; printf three; sleep 0.2; echo four' >/dev/null
		$BIN logs -f -n 0 l >$HOME/f 2>/dev/null; [[ $'one\ntwo\nthreefour' = *"$(cat $HOME/f)" ]] || { cat $HOME/f; exit 1; } # what came after it began
		[[ $($BIN logs -n 2 l) = $'two\nthreefour' && $($BIN logs --tail all l 2>&1 | sort) = $'err\none\nthreefour\ntwo' ]]
		since=$($BIN logs -t l 2>/dev/null | sed -n 2p | cut -d' ' -f1)
		[[ $($BIN logs --since $since l) = $'two\nthreefour' && -z $($BIN logs --since 0s l) && $($BIN logs --since 1h l 2>/dev/null | head -n 1) = one ]]
		[[ $($BIN logs --since 2001-02-03 -n 1 l) = threefour ]]
		$BIN rm l >/dev/null; rm $HOME/f
		$RUND --name s sleep 100 >/dev/null
		[[ $($BIN stats --no-stream | head -n 1) = 'CONTAINER ID   NAME   CPU %   MEM USAGE / LIMIT   MEM %   BLOCK I/O   PIDS   OPS/S   P99' ]]
		$BIN stats --no-stream --format json s | has -E '^\{"ID":"[0-9a-f]{12}","Name":"s","CPUPerc":'
		[[ $($BIN stats --no-stream --format 'table {{.Name}}\t{{.ID}}' s | wc -l) = 2 ]]
		[[ $($BIN top s | head -n 1 | tr -s ' ') = 'UID PID PPID TIME COMMAND' && $($BIN top s | tail -n 1) = *'sleep 100' ]]
		$BIN update --pids-limit 77 --cpus 0.5 -m 50m s >/dev/null 2>&1; [[ $($BIN inspect -f '{{.Config.Limits.Pids}} {{.Config.Limits.CPUs}} {{.Config.Limits.Memory}}' s) = '77 0.5 52428800' ]]
		$BIN rm -f s >/dev/null`)
}

// TestStoreByOtherWays: the store is named before the verb, by the environment
// and by the configuration, also by a relative path.
func TestStoreByOtherWays(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `
		mkdir $HOME/ways; cd $HOME/ways; unset PLYFS_ROOT
		printf 'root = "%s/conf"\n' $PWD >c.toml; printf 'root = "rel"\n' >bad.toml
		$BIN --root ./one run -d --name x $FLAGS sleep 100 >/dev/null
		[[ $($BIN ps --root one --format '{{.Names}}') = x && $(PLYFS_ROOT=one $BIN ps -q | wc -l) = 1 ]]
		$BIN --root one exec x true; $BIN --root=one rm -f x >/dev/null
		$BIN --config c.toml run -d --name y $FLAGS sleep 100 >/dev/null
		[[ $(PLYFS_CONFIG=c.toml $BIN ps --format '{{.Names}}') = y && -d conf/containers ]]
		[[ -z $($BIN --config c.toml --root one ps -q) && -z $(PLYFS_ROOT=one $BIN --config c.toml ps -q) ]]
		$BIN --config c.toml rm -f y >/dev/null
		no $BIN --config bad.toml ps 2>err; grep -q 'bad.toml: root: "rel" is not an absolute path' err
		no $BIN --config none.toml ps 2>err; grep -q 'none.toml: no such file' err
		cd; rm -r ways`)
}
