package containers

import (
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// withAttack puts the program of that name into the root.
func withAttack(t *testing.T, p *person) {
	p.sh(t, "cp "+harness.Build(t, "./integration/containers/attack")+" $LAYER/bin/attack")
}

// TestOwnProgramIsSealed_CVE_2019_5736: a payload, or what is executed into a
// container, can be this very program; nobody can write to it. That is so by the
// program's owner, or by a copy where the program is the user's own.
func TestOwnProgramIsSealed_CVE_2019_5736(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `ln -s /proc/self/exe $LAYER/bin/me; sha256sum $BIN >$HOME/sum`)
		p.prints(t, `$RUN me version | cut -d' ' -f1; $RUN --entrypoint /proc/self/exe version | cut -d' ' -f1`, "plyfs\nplyfs")
		for _, own := range []string{"", "install -m 0755 $BIN $HOME/plyfs; RUND=${RUND/$BIN/$HOME/plyfs}; BIN=$HOME/plyfs; sha256sum $BIN >$HOME/sum;"} {
			p.prints(t, own+`
			stat -c %a $BIN >$HOME/mode
			$RUND --name v --cap-add SYS_PTRACE --cap-add SYS_ADMIN --cap-add DAC_READ_SEARCH sh -c 'while :; do for f in /proc/[0-9]*/exe; do case $(readlink $f) in *plyfs*)
				echo x >$f && echo written; chmod 4777 $f; mount --bind $f /tmp && echo mounted;; esac; done; done 2>/dev/null' >/dev/null
			for i in 1 2 3 4 5; do $BIN exec v me version >/dev/null; done
			$BIN logs v; $BIN rm -f v >/dev/null; sha256sum -c --quiet $HOME/sum; stat -c %a $BIN | cmp $HOME/mode
			rm -f $HOME/sum $HOME/mode $HOME/plyfs`, "")
		}
	})
}

// TestNothingToSteal_CVE_2016_9962: whoever watches a command being executed
// into the container finds no descriptor of the host in it.
func TestNothingToSteal_CVE_2016_9962(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `
			$RUND --name v sh -c 'while :; do for p in /proc/[0-9]*; do case $(tr "\0" " " <$p/cmdline) in plyfs*) readlink $p/fd/* $p/cwd $p/root;; esac; done; done 2>/dev/null' >/dev/null
			for i in $(seq 10); do $BIN exec v true; done
			$BIN logs v | sort -u; $BIN rm -f v >/dev/null`, "")
	})
}

// TestWorkingDirectory_CVE_2024_21626: no descriptor leads out.
func TestWorkingDirectory_CVE_2024_21626(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `for i in $(seq 3 12); do ln -s /proc/self/fd/$i $LAYER/fd$i; done; $RUND --name v sleep 100 >/dev/null`)
		p.prints(t, `for i in $(seq 3 12); do
				$RUN -w /proc/self/fd/$i ls .. >/dev/null 2>&1; [[ $? = 126 ]] || echo run $i
				$RUN -w /fd$i ls .. >/dev/null 2>&1; [[ $? = 126 ]] || echo link $i
				$BIN exec -w /proc/self/fd/$i v ls .. >/dev/null 2>&1; [[ $? = 126 ]] || echo exec $i
			done; $BIN rm -f v >/dev/null`, "")
	})
}

// TestMasks_CVE_2025_31133: a /dev/null of the image covers nothing, and what
// is to be hidden is.
func TestMasks_CVE_2025_31133(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `mkdir $LAYER/dev; ln -s /proc/sysrq-trigger $LAYER/dev/null`)
		p.prints(t, `$RUN sh -c 'stat -c %t:%T /dev/null
			for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ ! -e $f ] || [ $(stat -c %t:%T $f) = 1:3 ] || echo $f shows; done
			for d in /proc/acpi /sys/firmware; do [ ! -e $d ] || [ -z "$(ls -A $d)" ] || echo $d shows; done'`, "1:3")
	})
}

// TestConsole_CVE_2025_52565: /dev/console is the container's own terminal
// whatever the image has under these names.
func TestConsole_CVE_2025_52565(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `mkdir -p $LAYER/dev/pts; ln -s /proc/sysrq-trigger $LAYER/dev/console; ln -s /proc/sysrq-trigger $LAYER/dev/pts/0`)
		p.prints(t, `script -qec "$RUN -it stat -c %t:%T /dev/console" /dev/null </dev/null | tr -d '\r' | sed 's/\^@//'`, "88:0")
	})
}

// TestProc_…: /proc is a proc of ours, /sys a sysfs of ours, and nothing is
// mounted on them or written through them, also where the image has links there.
func TestProc_CVE_2025_52881_CVE_2019_19921_CVE_2023_27561_CVE_2023_28642(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `for to in /proc /proc/self/attr /x/../proc/sys; do $RUN -v $LAYER:$to true 2>&1; $RUN --tmpfs $to true 2>&1; done | grep -vc 'nothing can be mounted'`, "0")
		p.sh(t, `mkdir $LAYER/fake; ln -s /fake $LAYER/proc`)
		p.prints(t, `$RUN --sysctl net.ipv4.ip_forward=1 true 2>&1 || echo $?
			rm $LAYER/proc; ln -s /fake $LAYER/sys; $RUN true 2>&1 || echo $?; rm $LAYER/sys; mkdir $LAYER/proc; ln -s ../fake $LAYER/proc/self; ln -s ../fake $LAYER/proc/sys
			$RUN --sysctl net.ipv4.ip_unprivileged_port_start=7 cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls -A $LAYER/fake`,
			"plyfs: /proc is a symbolic link in the root; it must be a directory\n125\n"+
				"plyfs: /sys is a symbolic link in the root; it must be a directory\n125\n7")
	})
}

// TestDev_…: an image whose /dev leads elsewhere is refused, and one that has
// links in it leads nobody anywhere.
func TestDev_CVE_2026_41579_CVE_2026_47766(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `ln -s /tmp $LAYER/dev`)
		p.prints(t, `$RUN true 2>&1 || echo $?`, "plyfs: /dev is a symbolic link in the root; it must be a directory\n125")
		p.prints(t, `rm $LAYER/dev; mkdir $LAYER/dev $LAYER/away; for n in pts shm mqueue console fd null ptmx; do ln -s /away $LAYER/dev/$n; done
			$RUN sh -c 'for n in pts shm mqueue; do grep -c " /dev/$n " /proc/self/mountinfo; [ -L /dev/$n ] && echo $n is a link; done; readlink /dev/fd; readlink /dev/ptmx; echo x >/dev/null; ls -A /away'; ls -A $LAYER/away`,
			"1\n1\n1\n/proc/self/fd\npts/ptmx")
	})
}

// TestMountTargets_CVE_2021_30465_CVE_2024_45310: a target that is a link, or
// becomes one, leads to a place in the container.
func TestMountTargets_CVE_2021_30465_CVE_2024_45310(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `mkdir -p $LAYER/../vol/dir $LAYER/../secret; echo s >$LAYER/../secret/s; ln -s ../../../../../.. $LAYER/up; ln -s /etc $LAYER/away`)
		p.prints(t, `$RUN -v $LAYER/../secret:/up/etc/one -v $LAYER/../secret:/away/two sh -c 'cat /etc/one/s /etc/two/s'; ls /etc/one /etc/two 2>/dev/null`, "s\ns")
		p.prints(t, `cd $LAYER/../vol
			(while :; do mv dir x; ln -s / dir; rm dir; mv x dir; done) 2>/dev/null & swapper=$!
			for i in $(seq 12); do $RUN -v $LAYER/../vol:/v -v $LAYER/../secret:/v/dir/deep/in sh -c '[ -e /boot ] && echo escaped; [ -e /v/dir/deep/in/s ] || [ -e /deep/in/s ] && echo mounted' 2>/dev/null; done | sort -u
			kill $swapper; wait $swapper; ls $LAYER/../secret; ls -d /deep 2>/dev/null`, "mounted\ns")
	})
}

// TestUserSyntax_CVE_2026_30892: what isn't a number is no number.
func TestUserSyntax_CVE_2026_30892(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `for u in 1000x 0x0 -1 +0 4294967295 4294967296 '1 0' 0: :0x 0:1x '' 0:0:0; do $RUN -u "$u" id >/dev/null 2>&1; [[ $? = 125 ]] || echo "$u"; done`, "")
	})
}

// TestCgroupfs_CVE_2022_0492_CVE_2023_25809: no file of a cgroup can be written,
// not even by a payload that may mount.
func TestCgroupfs_CVE_2022_0492_CVE_2023_25809(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		withAttack(t, p)
		p.prints(t, `for f in "" "--net host"; do $RUN $f sh -c 'touch /sys/fs/cgroup/x 2>&1 | grep -v Read-only; find /sys -name release_agent -o -name cgroup.procs | head -1 | while read f; do attack writable $f | grep -v read-only; done'; done`, "")
		p.prints(t, `$RUN --cap-add SYS_ADMIN sh -c 'for c in memory pids rdma misc; do mkdir /tmp/$c; mount -t cgroup -o $c x /tmp/$c && echo /x >/tmp/$c/release_agent && echo $c; done' 2>/dev/null`, "")
	})
}

// TestKernelSurface_CVE_2022_0185_CVE_2023_0386: the calls that the kernel was
// attacked through are refused, nested user namespaces first of all.
//
// So are the sockets of packet filters and of IPsec without CAP_NET_ADMIN, where
// the kernel has them at all.
func TestKernelSurface_CVE_2022_0185_CVE_2022_27666_CVE_2023_0386_CVE_2023_32233_CVE_2024_1086(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		withAttack(t, p)
		p.prints(t, `$RUN sh -c 'for a in "fsopen ext4" "fsopen overlay" userns keyring uring bpf perf fault handle nftables ipsec "nested nftables" "nested ipsec"; do attack $a; done' | grep -vx 'protocol not supported' | sort -u; $RUN sh -c 'unshare -m true; mount -t tmpfs x /tmp' >/dev/null 2>&1 && echo permitted`, "operation not permitted")
	})
}

// TestInheritable_CVE_2022_29162: no capability can be inherited.
func TestInheritable_CVE_2022_29162(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUND --name v sleep 100 >/dev/null; for c in "$RUN" "$BIN exec v"; do $c grep -E 'CapInh|CapAmb' /proc/self/status; done | sort -u; $BIN rm -f v >/dev/null`, "CapAmb:\t0000000000000000\nCapInh:\t0000000000000000")
	})
}

// TestAbstractSockets_CVE_2020_15257: with the host's network, its abstract
// sockets stay out of reach where the kernel has Landlock's scopes.
func TestAbstractSockets_CVE_2020_15257(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		withAttack(t, p)
		p.prints(t, `name=plyfs-test-$$; $LAYER/bin/attack listen $name >$HOME/l & pid=$!; until grep -q listening $HOME/l; do sleep 0.05; done
			$LAYER/bin/attack abstract $name; $RUN attack abstract $name; $RUN --net host attack abstract $name; kill $pid; rm $HOME/l`,
			"done\nconnection refused\noperation not permitted")
	})
}

// TestTyping_CVE_2017_5226_CVE_2019_10063: a payload never has our terminal.
func TestTyping_CVE_2017_5226_CVE_2019_10063(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		withAttack(t, p)
		p.prints(t, `script -qec "$RUN -i sh -c 'for i in 0 1 2; do [ -t \$i ] && echo terminal \$i; done; attack type'" /dev/null </dev/null | tr -d '\r' | sed 's/\^@//'`, "inappropriate ioctl for device")
	})
}

// TestCopy_CVE_2019_14271_CVE_2018_15664: a copy runs nothing of the container,
// and a link of it leads nowhere else.
func TestCopy_CVE_2019_14271_CVE_2018_15664(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUND --name v sh -c 'echo inside >/etc/secret; ln -s / /up; ln -s /etc/secret /link; rm -rf /lib /usr; rm /bin/tar /bin/cp /bin/ls; echo made; sleep 100' >/dev/null
			until $BIN logs v | has made; do sleep 0.05; done
			mkdir $HOME/o; echo outside >$HOME/o/mine; cd $HOME/o
			$BIN cp v:/up/etc/secret got; cat got; $BIN cp v:/up/../../../etc/secret got; cat got
			ln -s $HOME/o/mine trap; $BIN cp v:/etc/secret trap/ 2>/dev/null; $BIN cp v:/etc/secret - | (mkdir d; cd d; ln -s ../mine secret; $BIN cp v:/etc/secret .); cat mine
			cd; rm -r o; $BIN rm -f v >/dev/null`, "inside\ninside\noutside")
	})
}

// TestKernelFiles: what would change or tell about the host can't be written.
func TestKernelFiles(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		withAttack(t, p)
		p.prints(t, `$RUN sh -c 'for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/swappiness /proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled; do [ ! -e $f ] || attack writable $f; done' | grep -vE '^(read-only file system|permission denied)$'`, "")
		p.prints(t, `$RUN sh -c 'dmesg 2>&1 | head -1; mknod /tmp/sda b 8 0 2>&1; chroot / true && echo fine'`, "dmesg: klogctl: Operation not permitted\nmknod: /tmp/sda: Operation not permitted\nfine")
	})
}

// TestServerOfRoot: what the payload can see of the process that serves its
// root: nothing. It is in other namespaces, and its descriptor in no process
// of the container. It has no more rights than serving takes.
func TestServerOfRoot(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUND --name v sleep 100 >/dev/null
			[[ $($BIN exec v ps | grep -c plyfs) = 0 ]] && echo unseen
			$BIN exec v sh -c 'readlink /proc/*/fd/*' | grep -c fuse
			init=$($BIN inspect -f '{{.State.Init.PID}}' v); server=$($BIN inspect -f '{{.State.Stage.PID}}' v)
			for n in user pid mnt net; do [[ "$(readlink /proc/$init/ns/$n)" != "$(readlink /proc/$server/ns/$n 2>/dev/null)" ]] || echo same $n; done
			cat /proc/$server/task/*/status | grep -E '^(NoNewPrivs|Seccomp|CapInh|CapAmb):' | sort -u
			caps=$(cat /proc/$server/task/*/status | grep -E '^Cap(Eff|Prm)' | cut -f2 | sort -u); (( 0x$caps & ~0x8820021f )) && echo $caps
			tail -n +1 $PLYFS_ROOT/containers/*/server.log
			$BIN rm -f v >/dev/null`,
			"unseen\n0\nCapAmb:\t0000000000000000\nCapInh:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2")
	})
}

// TestNodesOfLayers: a device node and a set-user-ID program of a layer are
// dead.
func TestNodesOfLayers(t *testing.T) {
	p := newPerson(t, "root")
	withAttack(t, p)
	p.sh(t, `mkdir $LAYER/nodes; mknod -m 666 $LAYER/nodes/mem c 1 1; mknod -m 666 $LAYER/nodes/null c 1 3; cp $LAYER/bin/busybox $LAYER/nodes/id; chmod 4755 $LAYER/nodes/id`)
	p.prints(t, `for f in "" "--userns host"; do $RUN $f sh -c 'attack readable /nodes/mem; attack writable /nodes/null'; $RUN $f -u app /nodes/id -u; done`,
		"permission denied\npermission denied\n1000\npermission denied\npermission denied\n1000")
}

// TestHostTreeIsGone: nothing of the host's mounts is left behind the root.
func TestHostTreeIsGone(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `$RUN sh -c 'head -1 /proc/self/mountinfo | cut -d" " -f5; ls -d /../../.. | wc -l; [ "$(stat -c %i /)" = "$(stat -c %i /..)" ] && echo top; cut -d" " -f5 /proc/self/mountinfo | grep -vE "^/(proc|sys|dev|etc/(hosts|hostname))(/|$)|^/$"'`, "/\n1\ntop")
	})
}
