package containers

import (
	"testing"
)

// TestExitCodes: the payload's own, and docker's for what never ran.
func TestExitCodes(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			code() { local want=$1 rc=0; shift; "$@" >out 2>err || rc=$?; [[ $rc = $want ]] || { echo "$*: $rc, want $want: $(cat err)"; exit 1; }; }
			cd $HOME
			code 0 $RUN true
			code 1 $RUN false
			code 42 $RUN sh -c 'exit 42'
			code 143 $RUN --init sh -c 'kill $$; sleep 9'
			code 127 $RUN nosuch; grep -qx 'plyfs: nosuch: not found in the container' err
			code 127 $RUN /bin/nosuch
			code 126 $RUN /etc/passwd; grep -q 'permission denied' err
			code 126 $RUN /bin
			code 126 $RUN -w /etc/passwd/x true
			code 125 $RUN --nosuch true; grep -qx 'plyfs: unknown flag --nosuch' err
			code 125 $RUN
			code 125 $RUN -u nobodyhere true; grep -q nobodyhere err
			code 125 $RUN --net carrier-pigeon true
			code 125 $BIN run --layer /nosuch true; grep -q '/nosuch' err
			code 125 $RUN --sysctl kernel.panic=1 true; grep -q 'would change the host' err
			code 125 $RUN --cap-add CAP_NOSUCH true
			code 125 $RUN --ulimit nosuch=1 true
			code 125 $RUN -v /nosuch:/x true
			code 125 $RUN -v $LAYER:/proc/x true
			code 125 $RUN --security-opt seccomp=/etc/passwd true`)
	})
}

func TestStdio(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `echo in | $RUN -i cat`, "in")
		p.prints(t, `echo in | $RUN cat`, "")
		p.prints(t, `$RUN sh -c 'echo out; echo err >&2' 2>/dev/null`, "out")
		p.prints(t, `$RUN sh -c 'echo out; echo err >&2' 2>&1 >/dev/null`, "err")
		p.prints(t, `$RUN sh -c 'head -c 3000000 /dev/zero' | wc -c`, "3000000")
		// Nothing of ours is open in the payload, and nothing of our caller's.
		p.prints(t, `exec 7</etc/passwd; $RUN sh -c 'ls /proc/$$/fd; true' 7</etc/passwd | tr '\n' ' '`, "0 1 2")
	})
}

func TestFlags(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		for _, c := range [][3]string{
			{"workdir", `-w /a/b pwd`, "/a/b"},
			{"env", `-e A=1 -e B= -e HOME=/x sh -c 'echo $A-$B-$HOME-$container'`, "1--/x-plyfs"},
			{"env-file", `--env-file <(printf '# no\nA=b c\n') sh -c 'echo $A'`, "b c"},
			{"hostname", `--hostname some.host hostname`, "some.host"},
			{"entrypoint", `--entrypoint echo a b`, "a b"},
			{"read-only", `--read-only sh -c 'touch /x 2>&1'`, "touch: /x: Read-only file system"},
			{"tmpfs", `--read-only --tmpfs /t:size=1m,mode=0700 sh -c 'touch /t/x && stat -c %a /t && df /t | tail -1 | tr -s " " | cut -d" " -f2'`, "700\n1024"},
			{"ulimit", `--ulimit nofile=100:200 --ulimit core=0 sh -c 'ulimit -n; ulimit -Hn; ulimit -c'`, "100\n200\n0"},
			{"sysctl", `--sysctl net.ipv4.ip_unprivileged_port_start=7 cat /proc/sys/net/ipv4/ip_unprivileged_port_start`, "7"},
			{"add-host", `--add-host a.b:1.2.3.4 grep -F a.b /etc/hosts`, "1.2.3.4\ta.b"},
			{"dns", `--dns 9.9.9.9 cat /etc/resolv.conf`, "nameserver 9.9.9.9"},
			{"device", `--device /dev/fuse:/dev/thing stat -c %t:%T /dev/thing`, "a:e5"},
			{"caps", `--cap-drop ALL --cap-add CHOWN --cap-add cap_kill grep CapEff /proc/self/status`, "CapEff:\t0000000000000021"},
			{"caps all", `--cap-add ALL --cap-drop SYS_ADMIN sh -c 'mount -t tmpfs x /tmp 2>&1'`, "mount: permission denied (are you root?)"},
			{"sys_admin", `--cap-add SYS_ADMIN sh -c 'mount -t tmpfs x /tmp && echo yes'`, "yes"},
			{"new privileges", `--security-opt no-new-privileges=false grep -h -E 'NoNewPrivs|Seccomp:' /proc/self/status`, "NoNewPrivs:\t0\nSeccomp:\t2"},
			{"unconfined", `--security-opt seccomp=unconfined grep -h -E 'NoNewPrivs|Seccomp:' /proc/self/status`, "NoNewPrivs:\t1\nSeccomp:\t0"},
			{"init", `--init sh -c 'cat /proc/1/cmdline | tr "\0" " "'`, "plyfs-init"},
			{"net none", `ls /sys/class/net`, "lo"},
			{"net host", `--net host sh -c 'readlink /proc/self/ns/net'; readlink /proc/self/ns/net >/dev/null`, ""},
			{"ids virtual", `--ids virtual sh -c 'touch /f && chown 0:0 /f && stat -c %u:%g /f'`, "0:0"},
		} {
			t.Run(c[0], func(t *testing.T) {
				if c[0] == "net host" {
					p.prints(t, `[[ $($RUN --net host readlink /proc/self/ns/net) = "$(readlink /proc/self/ns/net)" ]] && echo same`, "same")
					return
				}
				p.prints(t, "$RUN "+c[1], c[2])
			})
		}
	})
}

// TestUser: names and numbers, groups, home directory, and what a container of
// one id answers.
func TestUser(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		if p.name == "single" {
			p.prints(t, `$RUN -u app true 2>&1 || echo $?`, "plyfs: user 1000 can't be had: the container has one id only; give yourself more with usermod --add-subuids 100000-165535 --add-subgids 100000-165535\n125")
			return
		}
		p.prints(t, `$RUN -u app sh -c 'id -u; id -G; echo $HOME; grep CapEff /proc/self/status'`, "1000\n1000 50\n/home/app\nCapEff:\t0000000000000000")
		p.prints(t, `$RUN -u 7:8 sh -c 'id -u; id -g'`, "7\n8")
		p.prints(t, `$RUN -u app sh -c 'touch /x 2>&1'`, "touch: /x: Permission denied")
		p.prints(t, `$RUN -u app sh -c 'touch /tmp/x && stat -c %u:%g /tmp/x'`, "1000:1000")
		p.prints(t, `$RUN sh -c 'touch /x && chown 1000:50 /x && stat -c %u:%g /x'`, "1000:50")
	})
}

// TestVolumes: files of the host keep their owner as root sees it, in both
// directions.
func TestVolumes(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `mkdir $LAYER/../vol; echo text >$LAYER/../vol/f`)
		p.prints(t, `$RUN -v $LAYER/../vol:/data sh -c 'cat /data/f; stat -c %u /data/f; echo new >/data/g'; cat $LAYER/../vol/g; stat -c %u $LAYER/../vol/g | has -x $(id -u) && echo mine`, "text\n0\nnew\nmine")
		p.prints(t, `$RUN -v $LAYER/../vol:/data:ro sh -c 'echo x >/data/h' 2>&1; [[ ! -e $LAYER/../vol/h ]] && echo kept`, "sh: can't create /data/h: Read-only file system\nkept")
		p.prints(t, `$RUN -v $LAYER/../vol/f:/deep/in/file:ro sh -c 'cat /deep/in/file'`, "text")
	})
}

// TestPlainRoot: --rootfs is the directory itself.
func TestPlainRoot(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$BIN run --rm --net none `+p.flags+` --rootfs $LAYER sh -c 'id -u; echo new >/new'; cat $LAYER/new; stat -c %u $LAYER/new | has -x $(id -u) && echo mine; rm $LAYER/new`, "0\nnew\nmine")
	})
}

// TestLayerStays: the layer stays as it was, and the upper goes with the container.
func TestLayerStays(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUN sh -c 'rm -rf /etc/passwd /home; touch /new; ls / | tr "\n" " "'; ls $LAYER | tr '\n' ' '; ls $LAYER/etc | wc -l`, "bin dev etc new proc root sys tmp bin etc home root tmp 2")
	})
}

// TestTerminal: -t gives a terminal of the container's own, with its size and
// as the controlling one.
func TestTerminal(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `script -qec "stty rows 33 cols 99; $RUN -it sh -c 'tty; stty size; readlink /proc/self/fd/0; : </dev/tty && echo controlled; test -c /dev/console && echo console'" /dev/null </dev/null | tr -d '\r' | sed 's/\^@//'`,
			"/dev/pts/0\n33 99\n/dev/pts/0\ncontrolled\nconsole")
		p.prints(t, `script -qec "$RUN --init -it sh -c 'tty; : </dev/tty && echo controlled'" /dev/null </dev/null | tr -d '\r' | sed 's/\^@//'`, "/dev/pts/0\ncontrolled")
		p.prints(t, `$RUN -t true </dev/null 2>&1 || echo $?`, "plyfs: -t needs a terminal as standard input\n125")
	})
}

// TestRootAsHost: without a user namespace.
func TestRootAsHost(t *testing.T) {
	p := newPerson(t, "root")
	p.prints(t, `$RUN --userns host sh -c 'cat /proc/self/uid_map | tr -s " "; touch /x; stat -c %u /x'`, "0 0 4294967295\n0")
	p = newPerson(t, "subids")
	p.prints(t, `$RUN --userns host true 2>&1 || echo $?`, "plyfs: only root can run a container without a user namespace: leave --userns host out\n125")
}

// TestSignals: what plyfs gets, the payload gets.
func TestSignals(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUN sh -c 'trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.05; done' >$LAYER/../out & pid=$!
			until grep -q ready $LAYER/../out; do sleep 0.05; done
			kill $pid; wait $pid || echo $?; cat $LAYER/../out`, "9\nready\ngot")
	})
}
