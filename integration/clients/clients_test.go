package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// everyone runs a test as root and as an unprivileged user, each on a mount
// outside of any namespace.
func everyone(t *testing.T, test func(t *testing.T, u *harness.User)) {
	t.Helper()
	t.Run("root", func(t *testing.T) { test(t, harness.Root(t)) })
	t.Run("user", func(t *testing.T) { test(t, harness.Unprivileged(t)) })
}

// clone makes a bare clone of this repository that everybody can read.
func clone(t *testing.T, dir string) {
	t.Helper()
	src, err := harness.Source()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("git", "-c", "safe.directory=*", "clone", "-q", "--bare", "--no-hardlinks", src, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("git clone --bare: %v\n%s", err, out)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", dir).CombinedOutput(); err != nil {
		t.Fatalf("chmod: %v\n%s", err, out)
	}
}

// gitWork clones, checks out, commits, rewrites and collects in a mount.
const gitWork = `
git config --global --add safe.directory '*'
git config --global user.name tester; git config --global user.email tester@localhost
cd $M
git clone -q $SRC a && cd a
git fsck --strict --no-progress
git checkout -q -b work
for i in $(seq 200); do echo $i >file$i; done
git add . && git commit -qm many
git mv file1 renamed && git rm -q file2 && git commit -qm 'rename and delete'
git checkout -q - && test ! -e file3
git checkout -q work && test -e file3 && test ! -e file2
git branch -q older HEAD~1 && git merge-base --is-ancestor older work
git stash list; echo dirty >file3; git stash -q; test "$(cat file3)" = 3; git stash pop -q; test "$(cat file3)" = dirty
git checkout -q file3
git gc -q --aggressive --prune=now
git fsck --strict --no-progress
test -z "$(git status --porcelain)"
git clone -q . ../b && cd ../b && test "$(git rev-parse HEAD)" = "$(git -C ../a rev-parse HEAD)"
cd $M && git -C lower status --porcelain && git -C lower checkout -q --detach && git -C lower gc -q --prune=now && git -C lower fsck --no-progress
`

func TestGit(t *testing.T) {
	require.Tool(t, "git")
	everyone(t, func(t *testing.T, u *harness.User) {
		stack, mnt := u.NewStack(t, 2)
		src := filepath.Join(u.Dir(t), "src.git")
		clone(t, src)
		// A checkout in a lower layer, so that gc replaces and deletes there.
		u.Run(t, "git config --global --add safe.directory '*'; git clone -q --no-hardlinks "+src+" "+stack.Lower[1]+"/lower")
		u.Mount(t, stack, mnt)
		u.Run(t, gitWork, "M="+mnt, "SRC="+src)
		u.Umount(t, mnt)
		u.Mount(t, stack, mnt)
		u.Run(t, "cd $M/a && git fsck --strict --no-progress && test -z \"$(git status --porcelain)\"; cd $M/lower && git fsck --no-progress", "M="+mnt)
	})
}

// TestGoBuild builds this project from sources in a lower layer, with the
// compiler's cache in the mount, and runs what it built.
func TestGoBuild(t *testing.T) {
	goTool := require.Tool(t, "go")
	src, err := harness.Source()
	if err != nil {
		t.Fatal(err)
	}
	u := harness.Unprivileged(t)
	stack, mnt := u.NewStack(t, 2)
	bare := filepath.Join(u.Dir(t), "src.git")
	clone(t, bare)
	u.Run(t, "git config --global --add safe.directory '*'; git clone -q "+bare+" "+stack.Lower[1]+"/src")
	// The modules come along, because the user can't see our module cache.
	vendor := exec.Command(goTool, "mod", "vendor", "-o", stack.Lower[0]+"/vendor")
	vendor.Dir = src
	if out, err := vendor.CombinedOutput(); err != nil {
		t.Fatalf("go mod vendor: %v\n%s", err, out)
	}
	if out, err := exec.Command("chown", "-R", strconv.Itoa(u.UID), stack.Lower[0]).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v\n%s", err, out)
	}
	u.Mount(t, stack, mnt)
	goroot, err := exec.Command(goTool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	u.Run(t, `mv $M/vendor $M/src/vendor
		cd $M/src && $GO build -mod=vendor ./... && $GO build -mod=vendor -o $M/hello ./integration/clients/fsx && $GO vet -mod=vendor ./fs/layer
		$M/hello -ops 200 $M/exercised`,
		"M="+mnt, "GO="+strings.TrimSpace(string(goroot))+"/bin/go", "GOCACHE="+mnt+"/cache", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOPROXY=off", "GOTELEMETRY=off")
	if _, err := os.Stat(stack.Upper + "/cache"); err != nil {
		t.Error("the compiler's cache is not in the upper layer: ", err)
	}
}

// sqliteWork writes by transactions in one journal mode, with a reader beside
// the writer, kills a writer in mid transaction, and checks the database.
const sqliteWork = `
db=$M/$MODE.db
sqlite3 $db "PRAGMA journal_mode=$MODE; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, n INT); CREATE INDEX i ON t(n);" >/dev/null
{ echo "PRAGMA busy_timeout=20000;"; for i in $(seq 60); do echo "BEGIN; INSERT INTO t(v,n) SELECT hex(randomblob(200)), $i FROM generate_series(1,10); COMMIT;"; done; } >$M/work.sql
sqlite3 $db <$M/work.sql >/dev/null & writer=$!
for i in $(seq 10); do n=$(sqlite3 $db "PRAGMA busy_timeout=20000; SELECT count(*) % 10 FROM t;" | tail -n 1); test "$n" = 0; done
wait $writer
test "$(sqlite3 $db 'SELECT count(*), sum(n) FROM t')" = "600|18300"
exec 5> >(exec sqlite3 $db); victim=$!
echo "BEGIN; UPDATE t SET v = v || 'x', n = -1;" >&5
sleep 0.3; kill -9 $victim; exec 5>&-; wait $victim 2>/dev/null || true
test "$(sqlite3 $db 'PRAGMA integrity_check; SELECT count(*) FROM t WHERE n < 0;' | tr '\n' ' ')" = "ok 0 "
sqlite3 $db "DELETE FROM t WHERE id % 2; VACUUM;"
test "$(sqlite3 $db 'PRAGMA integrity_check; SELECT count(*) FROM t')" = "ok
300"
# A database of a lower layer takes part, too.
sqlite3 $M/lower.db "PRAGMA journal_mode=$MODE; INSERT INTO old VALUES('$MODE'); PRAGMA integrity_check" | tail -n 1 | grep -qx ok
`

func TestSqlite(t *testing.T) {
	require.Tool(t, "sqlite3")
	everyone(t, func(t *testing.T, u *harness.User) {
		stack, mnt := u.NewStack(t, 1)
		u.Run(t, "sqlite3 "+stack.Lower[0]+"/lower.db 'CREATE TABLE old(a); INSERT INTO old VALUES(1)'")
		u.Mount(t, stack, mnt)
		for _, mode := range []string{"DELETE", "WAL", "TRUNCATE"} {
			u.Run(t, sqliteWork, "M="+mnt, "MODE="+mode)
		}
		u.Umount(t, mnt)
		u.Mount(t, stack, mnt)
		got := u.Run(t, `for m in DELETE WAL TRUNCATE; do sqlite3 $M/$m.db 'PRAGMA integrity_check; SELECT count(*) FROM t'; done; sqlite3 $M/lower.db 'SELECT count(*) FROM old'`, "M="+mnt)
		if want := strings.Repeat("ok\n300\n", 3) + "4\n"; got != want {
			t.Errorf("after a remount: got %q, want %q", got, want)
		}
	})
}

// fsxOptions are the mounts that fsx works on.
func fsxOptions() map[string][]string {
	all := map[string][]string{"default": nil}
	if harness.IsPlyfs() {
		all["writethrough"] = []string{"writeback=off"}
		all["live"] = []string{"live"}
	}
	return all
}

// TestFsx works on a new file and on one of a lower layer.
func TestFsx(t *testing.T) {
	fsx(t, "-ops 2000")
}

// TestSoakFsx goes on for a tenth of PLYFS_SOAK, with a new seed each time.
func TestSoakFsx(t *testing.T) {
	text := os.Getenv("PLYFS_SOAK")
	if text == "" {
		t.Skip("runs by make soak")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("PLYFS_SOAK: ", err)
	}
	for end := time.Now().Add(d / 10); time.Now().Before(end); {
		fsx(t, "-ops 5000")
	}
}

func fsx(t *testing.T, flags string) {
	t.Helper()
	everyone(t, func(t *testing.T, u *harness.User) {
		fsx := harness.Build(t, "./integration/clients/fsx")
		for name, options := range fsxOptions() {
			t.Run(name, func(t *testing.T) {
				stack, mnt := u.NewStack(t, 1)
				stack.More = options
				u.Run(t, "head -c 200000 /dev/urandom >"+stack.Lower[0]+"/old; sha256sum "+stack.Lower[0]+"/old >"+stack.Work+"/../sum")
				u.Mount(t, stack, mnt)
				u.Run(t, "$FSX "+flags+" $M/new; $FSX -keep "+flags+" $M/old; sha256sum $M/new $M/old >$U/../after", "FSX="+fsx, "M="+mnt, "U="+stack.Upper)
				u.Umount(t, mnt)
				u.Run(t, "sha256sum -c --quiet $U/../sum", "U="+stack.Upper)
				u.Mount(t, stack, mnt)
				u.Run(t, "sha256sum -c --quiet $U/../after", "U="+stack.Upper)
			})
		}
	})
}
