//go:build vm

package guest

import "testing"

// TestClock: the machine's clock jumps, back and forth by years. What was there is
// there, new files get the new time, the reserve of free space is looked at as before,
// and no server is taken for one that hangs.
func TestClock(t *testing.T) {
	p := newPerson(t, superuser)
	_, mnt := p.NewStack(t, 1)
	p.sh(t, `
		back=$(date +%s); trap 'date -s @$back >/dev/null; umount $D/mnt $D/disk 2>/dev/null || true' EXIT
		mkdir $D/disk; mount -t tmpfs -o size=64m none $D/disk; mkdir $D/disk/{u,w}
		echo lower >$D/lower0/f; mkdir $D/lower0/dir; echo deep >$D/lower0/dir/g
		PLYFS_HANG=5 $BIN mount -o lowerdir=$D/lower0,upperdir=$D/disk/u,workdir=$D/disk/w $D/mnt
		servers() { pgrep -f "plyfs.*$D/mnt" | sort | tr '\n' ' '; }
		cd $D/mnt; before=$(servers)
		for jump in -100000000 +250000000 -250000000 +1; do
			date -s @$(($(date +%s) + jump)) >/dev/null
			now=$(date +%s)
			cat f dir/g >/dev/null; echo $jump >>f; echo new >new$jump; mkdir dir/d$jump; mv dir/d$jump moved$jump
			want "$(tail -n 1 f)" $jump; want "$(cat new$jump)" new
			for x in f new$jump; do age=$(($(stat -c %Y $x) - now)); [[ $age -ge 0 && $age -lt 60 ]] || { echo "$x is $age s from now"; exit 1; }; done
			# Little room: seen within a moment, and so is its end.
			head -c 65m /dev/zero >$D/disk/fill 2>/dev/null || true
			full() { ! echo x >full; }; free() { echo x >free; }
			soon full; rm $D/disk/fill; soon free; rm -f full free
			want "$(cat f | head -n 1)" lower
		done
		sleep 12 # longer than a server may hang
		want "$(servers)" "$before"
		cd /; $BIN umount $D/mnt`, "D="+mnt[:len(mnt)-len("/mnt")])
}
