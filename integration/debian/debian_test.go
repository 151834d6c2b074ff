package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// prelude is shell text for every script: a root is entered with the
// machine's /dev, its own /proc and the local repository, and left again.
const prelude = `
enter() {
	mkdir -p "$1/repo"
	mount --rbind /dev "$1/dev"
	mount -t proc proc "$1/proc"
	mount --bind "$CACHE/repo" "$1/repo"
}
leave() { umount -l "$1/repo" "$1/proc" "$1/dev"; }
within() { chroot "$@"; }
# Everything that a listing can show, but for what enter puts there.
list() { (cd "$1" && find . -mount \( -path ./dev -o -path ./proc -o -path ./repo \) -prune -o -printf "%p %y %m %U:%G %s %T@ %l\n" | sed -E 's/^([^ ]+ d [^ ]+ [^ ]+) [0-9]+ /\1 - /' | LC_ALL=C sort); }
export DEBIAN_FRONTEND=noninteractive
`

// cutLayers makes two layers on the base with the kernel's own overlayfs, so
// that they are in the kernel's form: whiteouts and an opaque directory.
const cutLayers = prelude + `
mount -t overlay overlay -o userxattr,lowerdir=$D/base,upperdir=$D/trim,workdir=$D/cutting $D/cut
enter $D/cut
within $D/cut dpkg --purge hello
rm -rf $D/cut/srv/data/gone
leave $D/cut; rmdir $D/cut/repo; umount $D/cut
mount -t overlay overlay -o userxattr,lowerdir=$D/trim:$D/base,upperdir=$D/swap,workdir=$D/cutting $D/cut
rm -rf $D/cut/opt/app; mkdir $D/cut/opt/app; echo 3 >$D/cut/opt/app/three
umount $D/cut
test "$(stat -c %F,%t,%T $D/trim/usr/bin/hello)" = "character special file,0,0"
getfattr -n user.overlay.opaque $D/swap/opt/app >/dev/null
`

// checkLayers looks whether the layers show through.
const checkLayers = `
test ! -e $M/usr/bin/hello; test ! -e $M/srv/data/gone; test -e $M/srv/data/keep
test "$(ls $M/opt/app)" = three; test ! -e $M/opt/app/one; test ! -e $M/opt/app/sub
`

// install has apt install packages from the local repository.
const install = `
enter $M
rm -f $M/etc/apt/sources.list.d/*; echo "deb [trusted=yes] file:/repo ./" >$M/etc/apt/sources.list
within $M apt-get -q update
within $M apt-get -qy install --no-install-recommends $PACKAGES
within $M less --version | head -n 1
verify
`

// verify is the proof: dpkg finds every file as its package has it.
const verify = `
verify() {
	complaints=$(within $M dpkg --verify 2>&1) || true
	[ -z "$complaints" ] || { echo "dpkg --verify: $complaints"; exit 1; }
	within $M dpkg-query -W $PACKAGES
	within $M dpkg --audit
}
`

// root is one Debian root of one user.
type root struct {
	t        *testing.T
	user     *harness.User
	ns       harness.Namespace
	dir, mnt string
	stack    harness.Stack
	env      []string
}

func newRoot(t *testing.T, ns harness.Namespace, packages string, options ...string) *root {
	t.Helper()
	ns.Require(t)
	u := harness.Unprivileged(t)
	r := &root{t: t, user: u, ns: ns, dir: u.Dir(t)}
	u.Run(t, "cd "+r.dir+" && mkdir base trim swap cut cutting upper work mnt")
	r.mnt = filepath.Join(r.dir, "mnt")
	r.stack = harness.Stack{
		Lower: []string{r.dir + "/swap", r.dir + "/trim", r.dir + "/base"},
		Upper: r.dir + "/upper", Work: r.dir + "/work", More: options,
	}
	r.env = []string{"D=" + r.dir, "M=" + r.mnt, "CACHE=" + cache(t), "PACKAGES=" + packages}
	return r
}

func (r *root) run(script string) string {
	r.t.Helper()
	return r.user.RunIn(r.t, r.ns, script, r.env...)
}

// mounted wraps a script into a mount of the whole stack.
func (r *root) mounted(script string) string {
	return prelude + verify + harness.MountScript(r.stack, r.mnt) + "\n" + script + "\n" + harness.UmountScript(r.mnt) + "\n"
}

// installAndRemount is the test proper: install, verify, unmount, remount,
// verify again, and nothing may look different.
func (r *root) installAndRemount() {
	r.t.Helper()
	before := r.run(r.mounted(checkLayers + install + "leave $M; sync -f $M; list $M >$D/before"))
	if !strings.Contains(before, "less") {
		r.t.Errorf("less did not run:\n%s", before)
	}
	r.run(r.mounted(checkLayers + "list $M >$D/after; enter $M; verify; within $M bash -c 'ls -lR /etc /usr/share/doc >/dev/null'; leave $M"))
	r.same("before", "after", "the remount")
}

// same compares two listings.
func (r *root) same(a, b, what string) {
	r.t.Helper()
	lines := func(name string) map[string]bool {
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			r.t.Fatal(err)
		}
		set := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			set[line] = true
		}
		return set
	}
	before, after := lines(a), lines(b)
	if len(before) < 1000 {
		r.t.Fatalf("the listing has only %d lines", len(before))
	}
	var diff []string
	for line := range before {
		if !after[line] {
			diff = append(diff, "- "+line)
		}
	}
	for line := range after {
		if !before[line] {
			diff = append(diff, "+ "+line)
		}
	}
	if len(diff) > 0 {
		r.t.Errorf("%s changed %d lines:\n%s", what, len(diff), strings.Join(diff[:min(len(diff), 20)], ""))
	}
}

// TestSubordinateIDs: owners are real, shifted ids. cron brings a group of its
// own and a setgid program.
func TestSubordinateIDs(t *testing.T) {
	r := newRoot(t, harness.SubIDs, "less tree cron")
	r.run(`tar -C $D/base -xpf $CACHE/base.tar --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*'`)
	r.run(cutLayers)
	r.installAndRemount()
	if got := r.run(r.mounted(`stat -c %a:%G $M/usr/bin/crontab; within $M stat -c %a:%G /usr/bin/crontab | sed 's/^/inside /'`)); !strings.Contains(got, "inside 2755:crontab") {
		t.Errorf("crontab lost its group or setgid bit: %q", got)
	}
	// The kernel's overlayfs sees the same tree in what we left behind.
	r.run(prelude + `
		mount -t overlay overlay -o userxattr,lowerdir=$D/swap:$D/trim:$D/base,upperdir=$D/upper,workdir=$D/work $M
		list $M >$D/kernel
		umount $M`)
	r.same("after", "kernel", "mounting it with kernel overlayfs")
}

// TestSingleID: the user owns one id, owners are data, and apt must not
// change to its own user, whom the kernel doesn't know here.
func TestSingleID(t *testing.T) {
	r := newRoot(t, harness.SingleID, "less tree bc", "xattr_permissions=2")
	unpackVirtual(t, filepath.Join(cache(t), "base.tar"), filepath.Join(r.dir, "base"), r.user)
	r.run(cutLayers)
	r.run(r.mounted(`echo 'APT::Sandbox::User "root";' >$M/etc/apt/apt.conf.d/01sandbox`))
	r.installAndRemount()
	r.run(`getfattr -n user.containers.override_stat $D/upper/usr/bin/less >/dev/null`)
}
