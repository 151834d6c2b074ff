//go:build vm

package guest

import (
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestMount: a union on the oldest kernel, as root, as a user by fusermount3, and
// in a user namespace, by the rules that the kernel's own overlayfs has.
func TestMount(t *testing.T) {
	const work = `
		for i in 0 1; do echo $i >$D/lower$i/f$i; mkdir $D/lower$i/dir; echo $i >$D/lower$i/dir/same; done
		echo lower >$D/lower1/changed; echo gone >$D/lower1/gone
		$BIN mount -o lowerdir=$D/lower0:$D/lower1,upperdir=$D/upper,workdir=$D/work $D/mnt
		cd $D/mnt
		want "$(cat f0 f1 dir/same)" $'0\n1\n0'
		echo more >>changed; rm gone; mv dir moved; ln changed hard; mkdir -p new/deep; dd if=/dev/zero of=big bs=64k count=64 2>/dev/null
		want "$(cat changed)" $'lower\nmore'
		want "$(ls -A | tr '\n' ' ')" 'big changed f0 f1 hard moved new '
		want "$(stat -c %h hard) $(stat -c %s big)" '2 4194304'
		want "$(cat $D/lower1/changed)" lower
		cd /; $BIN umount $D/mnt
		want "$(stat -c %F $D/upper/gone)" 'character special file'
		$BIN fsck $D/upper`
	for _, name := range []string{superuser, tenant} {
		p := newPerson(t, name)
		_, mnt := p.NewStack(t, 2)
		p.sh(t, work, "D="+mnt[:len(mnt)-len("/mnt")])
	}
	p := newPerson(t, tenant)
	_, mnt := p.NewStack(t, 2)
	p.RunIn(t, harness.SubIDs, tools+work, "D="+mnt[:len(mnt)-len("/mnt")])
}
