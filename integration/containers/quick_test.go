package containers

import "testing"

// TestQuick: the init that is a list of system calls (container/quick.go) and the one
// that is a program (with -u, which the list doesn't know) make the same container,
// to the last flag of a mount, on whatever root.
func TestQuick(t *testing.T) {
	for _, name := range []string{"subids", "single"} { // root's is a program
		p := newPerson(t, name)
		p.sh(t, `
			facts='id; env | sort; pwd; hostname; umask; ulimit -a; cat /etc/hosts /etc/hostname
				grep -Ev "^(Pid|NSpid|Tgid|PPid|NStgid|NSpgid|NSsid|Vm|Rss|Hugetlb|.*ctxt|Cpus|Mems|Name|FDSize|Threads|State|Seccomp_filters)" /proc/self/status
				cat /proc/self/timerslack_ns /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/cgroup
				cut -d" " -f4- /proc/self/mountinfo | sed "s/ [0-9]*:[0-9]* / /"
				ls -la /dev | sed "s/ [A-Z][a-z][a-z]  *[0-9].* / /"; ls /proc/1/fd; ls -a / /etc; stat -c "%a %u %g %n" / /etc /etc/hosts /dev /sys /tmp; ip link'
			both() { # its root, then flags
				local what=$1; shift
				$RUN --hostname h "$@" sh -c "$facts" </dev/null 2>&1 | cat >$HOME/quick || { echo "$what: $(cat $HOME/quick)"; exit 1; }
				$RUN --hostname h -u 0 "$@" sh -c "$facts" </dev/null 2>&1 | cat >$HOME/program || { echo "$what: $(cat $HOME/program)"; exit 1; }
				diff $HOME/program $HOME/quick || { echo "$what: differs"; exit 1; }
				grep -q '^NoNewPrivs' $HOME/quick || { cat $HOME/quick; exit 1; }
			}
			slack=$(cat /proc/self/timerslack_ns) # that of plyfs is another, see cmd/plyfs/entry.go
			[[ $($RUN cat /proc/self/timerslack_ns) = $slack && $($RUN --init cat /proc/self/timerslack_ns) = $slack ]]
			$RUND --name slack cat /proc/self/timerslack_ns >/dev/null; $BIN wait slack >/dev/null
			[[ $($BIN logs slack) = $slack ]]; $BIN rm slack >/dev/null
			both plain
			both flags --read-only -w /tmp -e A=b -e HOME=/x --cap-drop ALL --cap-add chown --ulimit nofile=70:90 --ulimit core=0
			both open --security-opt seccomp=unconfined --security-opt systempaths=unconfined
			both data --ids virtual
			ulimit -S -n 111; both limit; ulimit -S -n 1024
			printf 'root:x:0:0::/home/of/root:/bin/sh\n' >$LAYER/etc/passwd
			printf 'a:x:7:root\nb:x:8:app\nc:x:9:app,root\n' >$LAYER/etc/group; both groups
			printf 'other:x:0:5::/o:/bin/sh\n' >$LAYER/etc/passwd
			[[ $FLAGS == *single* ]] || both "another group"
			rm $LAYER/etc/passwd $LAYER/etc/group; both "no users"
			mkdir $LAYER/etc/passwd; both "a directory"; rmdir $LAYER/etc/passwd
			mkfifo $LAYER/etc/passwd; $RUN true; rm $LAYER/etc/passwd
			mkdir -p $LAYER/{proc,sys,dev,usr/etc}; touch $LAYER/etc/{hosts,hostname,resolv.conf}; both "all there"
			rm -r $LAYER/etc; both "no etc"
			ln -s usr/etc $LAYER/etc; both "etc is a link"
			ln -s /new/hosts $LAYER/usr/etc/hosts; both "hosts leads to nothing"
			rm $LAYER/etc; mkdir $LAYER/etc; mkdir $LAYER/etc/hosts
			! $RUN true 2>$HOME/quick; ! $RUN -u 0 true 2>$HOME/program; diff $HOME/program $HOME/quick`)
	}
}
