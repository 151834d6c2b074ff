package containers

import (
	"testing"
)

// TestDiff: what a container has changed against its layers, running or not.
func TestDiff(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.sh(t, `
			mkdir -p $LAYER/doc/a $LAYER/old/b $LAYER/../top/etc $LAYER/../vol; echo one >$LAYER/doc/a/f; echo two >$LAYER/doc/g; echo x >$LAYER/old/b/x; echo y >$LAYER/old/y
			echo top >$LAYER/../top/etc/top; ln -s a $LAYER/doc/l; chmod 644 $LAYER/doc/g
			$BIN run -d --name d --net none `+p.flags+` -v $LAYER/../vol:/vol/deep --layer $LAYER/../top --layer $LAYER sh -c '
				cd /doc; echo more >>a/f; chmod 600 g; rm l; mkdir n; echo new >n/f; ln -s n s; rm -r /old; mkdir /old; echo z >/old/y; rm /etc/top; echo same >same; rm same
				cp g h; mv h g2; touch /etc/passwd; chmod 644 /etc/passwd; echo done; sleep 1000' >/dev/null
			until $BIN logs d | has done; do sleep 0.05; done`)
		want := "C /doc/a/f\nC /doc/g (mode)\nA /doc/g2\nD /doc/l\nA /doc/n/\nA /doc/n/f\nA /doc/s -> n\nD /etc/top\nD /old/b/\nC /old/y"
		p.prints(t, `$BIN diff d`, want)
		p.prints(t, `$BIN rm d 2>/dev/null; $BIN kill d >/dev/null; $BIN wait d >/dev/null; $BIN diff d`, want)
		p.prints(t, `$BIN diff --name-only d /old /doc/n`, "/doc/n\n/doc/n/f\n/old/b\n/old/y")
		p.prints(t, `$BIN diff --stat d /doc/a; $BIN diff --patch d /doc/a | tail -n 1; $BIN diff --format json d | tr -d ' \n' | grep -o '"container":"d"\|"totals":{[^}]*'`,
			"/doc/a/f | 1 +\n 0 added, 1 changed, 0 deleted, 9 B\n+more\n\"container\":\"d\"\n\"totals\":{\"added\":4,\"changed\":3,\"deleted\":3,\"bytes\":20,\"conflicts\":0,\"kept\":0")
		p.prints(t, `$BIN diff d /nowhere 2>&1 || echo $?`, "plyfs: nothing has changed at /nowhere\n1")
		p.prints(t, `$BIN rm d >/dev/null; $BIN run --name d $FLAGS true; $BIN diff d; mv $LAYER $LAYER.x; $BIN diff d 2>&1 | sed "s,$LAYER,LAYER,"; mv $LAYER.x $LAYER; $BIN rm d`,
			"plyfs: lowerdir LAYER does not exist: create it or correct the name\nd")
		p.prints(t, `$BIN run --name d --rootfs $LAYER --net none `+p.flags+` true; $BIN diff d 2>&1 | sed "s,$LAYER,LAYER,"; $BIN rm d`,
			"plyfs: the root of container d is the directory LAYER itself (--rootfs): there is no layer to compare it with\nd")
		p.prints(t, `$BIN run --name d $FLAGS --ids virtual sh -c 'chmod 600 /etc/group; echo x >/x'; $BIN diff d; $BIN rm d`, "C /etc/group (mode)\nA /x\nd")
	})
}

// TestDiffDirectory: an upper of a mount, with its layers and without.
func TestDiffDirectory(t *testing.T) {
	p := newPerson(t, "subids")
	p.sh(t, `
		cd $LAYER/..; mkdir -p a/d b/d/e u w m; echo 1 >a/d/f; echo 2 >b/d/f; echo 3 >b/d/g; echo 4 >b/h; echo 5 >b/d/e/i
		$BIN mount -o lowerdir=a:b,upperdir=u,workdir=w m
		no $BIN diff ./m 2>err; grep -qx 'plyfs: ./m is a mount of plyfs: give its upper directory' err
		echo more >>m/d/f; rm m/h; echo n >m/d/n; rm -r m/d/e; mkdir m/new
		$BIN umount m`)
	p.prints(t, `cd $LAYER/..; $BIN diff --lower a --lower b u`, "D /d/e/\nC /d/f\nA /d/n\nD /h\nA /new/")
	p.prints(t, `cd $LAYER/..; $BIN diff ./u; $BIN diff --stat u /d/f; $BIN diff --patch u /h /d/f`, "D /d/e\nC /d/f\nA /d/n\nD /h\nA /new/\n /d/f | changed\n 0 added, 1 changed, 0 deleted, 7 B\n# C /d/f\n# D /h")
	p.prints(t, `cd $LAYER/..; for args in "--lower nowhere u" "./nowhere" "nowhere" "--lower a nobody" ""; do $BIN diff $args 2>&1 | sed "s,$PWD,DIR,"; done`,
		"plyfs: --lower: stat DIR/nowhere: no such file or directory\nplyfs: upper directory: stat ./nowhere: no such file or directory\n"+
			"plyfs: no such container: nowhere; plyfs ps -a lists them\nplyfs: no such container: nobody; plyfs ps -a lists them\nplyfs: no sandbox, container or directory given; plyfs ps -a lists the first two")
}
