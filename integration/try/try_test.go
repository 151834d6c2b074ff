package try

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// home is a user with a directory that is home, working directory and place of
// the data.
type home struct {
	*harness.User
	t   *testing.T
	dir string
}

func newHome(t *testing.T, u *harness.User) *home {
	t.Helper()
	require.UserNS(t)
	return &home{u, t, u.Dir(t)}
}

// prelude makes `try` a command without a question, and wants its errors.
const prelude = `
cd $H
export HOME=$H XDG_CONFIG_HOME=$H/.config PLYFS_ROOT=$H/.data
try() { $BIN try "$@" </dev/null 2>$H/.err || { rc=$?; cat $H/.err >&2; return $rc; }; }
fails() { if "$@" >$H/.out 2>&1; then echo "$* succeeded"; exit 1; fi; }
plyfs() { $BIN "$@" </dev/null; }
has() { grep "$@" >/dev/null; } # and not -q: it would end what it reads from
hasx() { grep -x "$@" >/dev/null; }
same() { test "$1" = "$2" || { echo "got:  $1"; echo "want: $2"; exit 1; }; }
`

func (h *home) run(script string, env ...string) string {
	h.t.Helper()
	return h.Run(h.t, prelude+script, append(env, "H="+h.dir)...)
}

// each runs a test as the unprivileged user and as root.
func each(t *testing.T, fn func(t *testing.T, h *home)) {
	t.Run("user", func(t *testing.T) { fn(t, newHome(t, harness.Unprivileged(t))) })
	t.Run("root", func(t *testing.T) { fn(t, newHome(t, harness.Root(t))) })
}

// TestPackage installs a package whose script makes a user and gives files away,
// and goes on in the same sandbox.
func TestPackage(t *testing.T) {
	require.Tool(t, "apt-get")
	require.Tool(t, "dpkg-deb")
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir -p pkg/DEBIAN pkg/usr/share/plyfs-try pkg/usr/bin
printf '#!/bin/sh\necho it runs\n' >pkg/usr/bin/plyfs-try-test; chmod 755 pkg/usr/bin/plyfs-try-test
echo data >pkg/usr/share/plyfs-try/data
cat >pkg/DEBIAN/control <<END
Package: plyfs-try-test
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: a test
END
cat >pkg/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
groupadd -r plyfstry
useradd -r -g plyfstry plyfstry
chown 33:34 /usr/share/plyfs-try/data
chown -h 33:34 /usr/share/plyfs-try
test "$(id -u)" = 0
END
chmod 755 pkg/DEBIAN/postinst
dpkg-deb --root-owner-group -b pkg test.deb >/dev/null
cp /var/lib/dpkg/status before; cp /etc/passwd passwd
try --keep --name p -- sh -c 'apt-get install -qy --no-install-recommends ./test.deb && plyfs-try-test' >log 2>&1 || { cat log; exit 1; }
same "$(tail -n1 log)" "it runs"
cmp before /var/lib/dpkg/status; cmp passwd /etc/passwd
test ! -e /usr/bin/plyfs-try-test; test ! -e /usr/share/plyfs-try
same "$(try --keep --name p -- sh -c 'dpkg-query -W -f "\${Status}" plyfs-try-test; getent passwd plyfstry >/dev/null && echo " with a user"')" "install ok installed with a user"
plyfs diff p | hasx 'A /usr/bin/plyfs-try-test'
plyfs diff --format json p /usr/share/plyfs-try/data | tr -d ' \n' | has '"uid":33,"gid":34'
test -z "$(plyfs diff --format json p | grep conflict.: || true)"
plyfs discard p
`)
	})
}

// TestRemovals deletes what no machine can do without, and a wheel and a program
// are installed.
func TestRemovals(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		wheel(t, filepath.Join(h.dir, "plyfs_try-1-py3-none-any.whl"))
		h.run(`
list() { { ls -lR /etc /usr/bin 2>/dev/null || true; } | md5sum; }
list >before
printf 'install:\n\tinstall -D -m 755 prog /usr/local/bin/plyfs-try-prog\n' >Makefile; printf '#!/bin/sh\necho prog\n' >prog
try --keep --name i -- sh -c 'make -s install; plyfs-try-prog; if python3 -m pip --version >/dev/null 2>&1; then
	python3 -m pip install -q --root-user-action ignore --break-system-packages --no-index ./plyfs_try-1-py3-none-any.whl >&2 && python3 -c "import plyfs_try; print(plyfs_try.word)"; else echo wheel; fi' >out
same "$(cat out)" "prog
wheel"
test ! -e /usr/local/bin/plyfs-try-prog
try --keep --name i -- rm -rf /usr/bin /usr/sbin /etc /boot /opt /home
fails plyfs try --name i --keep -- ls /
plyfs diff --name-only i | hasx /etc
plyfs diff i | hasx 'D /usr/bin/'
list >after
cmp before after
plyfs discard i
`)
	})
}

// wheel writes the smallest package that pip takes.
func wheel(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	const info = "plyfs_try-1.dist-info/"
	for _, file := range [][2]string{
		{"plyfs_try.py", "word = 'wheel'\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: plyfs-try\nVersion: 1\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", strings.Join([]string{"plyfs_try.py,,", info + "METADATA,,", info + "WHEEL,,", info + "RECORD,,", ""}, "\n")},
	} {
		w, err := z.Create(file[0])
		if err == nil {
			_, err = w.Write([]byte(file[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCommit(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir p; echo one >p/a; echo two >p/b; echo three >p/c; ln -s a p/s
try --keep --name k -- sh -c 'cd p; echo more >>a; chmod 600 b; rm c; mkdir -p d/e; echo n >d/e/n; ln d/e/n d/m; ln -sf b s; mkfifo f'
same "$(plyfs diff k $H/p)" "C $H/p/a
C $H/p/b (mode)
D $H/p/c
A $H/p/d/
A $H/p/d/e/
A $H/p/d/e/n
A $H/p/d/m (link to $H/p/d/e/n)
A $H/p/f
C $H/p/s (target)"
plyfs diff --patch k $H/p/a | hasx '+more'
plyfs diff --stat k $H/p/a | has '| 1 +$'
same "$(cat p/a)" one
plyfs commit --to-host -q k $H/p/d/m
same "$(cd p; echo *)" "a b c d s"; same "$(stat -c %h p/d/m)" 1; test ! -e p/d/e
plyfs commit --to-host -q k
same "$(cat p/a)" "one
more"
same "$(stat -c %a p/b) $(readlink p/s) $(cat p/d/e/n) $(stat -c %F p/f)" "600 b n fifo"
test ! -e p/c
same "$(plyfs diff k)" ""
same "$(stat -c %u p/a p/d/e/n | sort -u)" "$(id -u)"
plyfs discard k
`)
	})
}

func TestConflict(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir p t; echo one >p/a; echo two >p/b; echo x >t/x
try --keep --name k -- sh -c 'echo mine >p/a; echo mine >p/b; echo mine >p/n; rm -rf t'
echo host >p/a; echo host >t/y
fails plyfs commit --to-host k
has "C $H/p/a .conflict: the host has changed its content" .out
has "D $H/t/ .conflict: $H/t/y in it was changed" .out
same "$(cat p/a p/b)" "host
two"
plyfs commit --to-host -q k $H/p/b; same "$(cat p/b)" mine
# The same file again: the host's is what we put there.
try --keep --name k -- sh -c 'echo again >p/b'
plyfs commit --to-host -q k $H/p/b; same "$(cat p/b)" again
# A directory that became a link leads nowhere.
mv p real; ln -s real p
fails plyfs commit --to-host k $H/p/n
test ! -e real/n
rm p; mv real p
plyfs commit --to-host --force -q k
same "$(cat p/a p/n)" "mine
mine"
test ! -e t
plyfs discard k
`)
	})
}

func TestCheckpoints(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.run(`
mkdir -p doc/a man/b; echo x >doc/a/x; echo x >man/b/x
try --keep --name c -- sh -c 'echo 1 >f; rm -rf man'
same "$(plyfs checkpoint c)" 1
try --keep --name c -- sh -c 'echo 2 >f; echo g >g; mkdir man'
same "$(plyfs checkpoint c second)" second
fails plyfs checkpoint c second
try --keep --name c -- rm -rf f g doc
same "$(plyfs rollback c)" second
same "$(try --keep --name c -- sh -c 'cat f g; ls man; ls doc')" "2
g
a"
plyfs rollback c 1
same "$(plyfs diff c)" "A $H/f
D $H/man/"
same "$(plyfs checkpoint -l c | awk '{print $1}' | xargs)" "1 second"
fails plyfs rollback c third
plyfs discard c
test -z "$(ls .data/containers)"
`)
	})
}
