package notify

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// The child is this test binary: its main thread puts the filter on itself,
// sends the listener to its parent, which serves it, and makes calls.
const childEnv = "PLYFS_NOTIFY_CHILD"

// try is one call of the child's. A string is passed as a path; "@NAME" is a
// descriptor of that path in the tree.
type try struct {
	Name string
	Call uintptr
	Args []any
}

func init() {
	if os.Getenv(childEnv) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	os.Exit(m.Run())
}

// child makes the calls that its parent names and says what they answered.
func child() {
	must := func(err error) {
		if err != nil {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()})
			os.Exit(1)
		}
	}
	var tries []try
	d := json.NewDecoder(os.Stdin)
	d.UseNumber()
	must(d.Decode(&tries))
	if root := os.Getenv("PLYFS_NOTIFY_ROOT"); root != "" {
		must(unix.Chroot(root))
		must(unix.Chdir("/in"))
	}
	unix.Umask(0o027)
	calls := make([][6]uintptr, len(tries))
	for i, t := range tries {
		for k, a := range t.Args {
			calls[i][k] = argument(a, must)
		}
	}
	must(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fd, err := Install()
	must(err)
	must(unix.Sendmsg(3, []byte("l"), unix.UnixRights(fd), nil, 0))
	unix.Close(fd)
	_, err = unix.Read(3, make([]byte, 1)) // it is being served
	must(err)
	answers := make([]int, len(tries))
	for i, t := range tries {
		a := &calls[i]
		_, _, e := unix.Syscall6(t.Call, a[0], a[1], a[2], a[3], a[4], a[5])
		answers[i] = int(e)
	}
	must(json.NewEncoder(os.Stdout).Encode(answers))
	os.Exit(0)
}

func argument(a any, must func(error)) uintptr {
	switch v := a.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		must(err)
		return uintptr(n)
	case string:
		if name, ok := strings.CutPrefix(v, "@"); ok {
			fd, err := unix.Open(name, unix.O_RDONLY, 0)
			must(err)
			return uintptr(fd)
		}
		p, err := unix.BytePtrFromString(v)
		must(err)
		return uintptr(unsafe.Pointer(p)) // kept alive: nothing is collected here
	}
	return 0
}

// run has a child make calls in dir (its root is root, if there is one) and
// gives the answers.
func run(t *testing.T, dir, root string, tries []try) []unix.Errno {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "child")
	defer unix.Close(pair[0])
	text, err := json.Marshal(tries)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(string(text))
	cmd.Env = append(os.Environ(), childEnv+"=1", "PLYFS_NOTIFY_ROOT="+root, "GOGC=off")
	cmd.ExtraFiles = []*os.File{theirs}
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	served := make(chan error, 1)
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err == nil && n > 0 {
		messages, _ := unix.ParseSocketControlMessage(oob[:n])
		fds, _ := unix.ParseUnixRights(&messages[0])
		go func() { served <- Serve(fds[0]) }()
		_, _ = unix.Write(pair[0], []byte("s"))
	} else {
		served <- err
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child: %v\n%s%s", err, out.String(), said.String())
	}
	if err := <-served; err != nil {
		t.Fatalf("Serve: %v", err)
	}
	var answers []unix.Errno
	if err := json.Unmarshal([]byte(out.String()), &answers); err != nil || len(answers) != len(tries) {
		t.Fatalf("the child said %q: %v", out.String(), err)
	}
	return answers
}

// kept is what was noted of a file, "" for nothing.
func kept(t *testing.T, path, attr string) string {
	t.Helper()
	buf := make([]byte, 64)
	n, err := unix.Lgetxattr(path, attr, buf)
	if err != nil && err != unix.ENODATA && err != unix.ENOENT && err != unix.EPERM {
		t.Fatalf("%s of %s: %v", attr, path, err)
	}
	return string(buf[:max(n, 0)])
}

// tree makes a file, a directory with one, a fifo, and links: in /var/tmp, which
// is on the file system of our root more often than /tmp, and takes user xattrs.
func tree(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "plyfs-notify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "f"), nil, 0o644),
		os.MkdirAll(filepath.Join(dir, "d/e"), 0o755),
		os.WriteFile(filepath.Join(dir, "d/f"), nil, 0o644),
		os.Symlink("f", filepath.Join(dir, "l")),
		os.Symlink("/d", filepath.Join(dir, "top")),
		unix.Mkfifo(filepath.Join(dir, "p"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sameAsRoot says whether files there are on the file system of our root: on
// another one nothing is noted, on purpose.
func sameAsRoot(t *testing.T, dir string) bool {
	t.Helper()
	var a, b unix.Stat_t
	if err := unix.Stat(dir, &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat("/", &b); err != nil {
		t.Fatal(err)
	}
	return a.Dev == b.Dev
}

var long = strings.Repeat("x/", 2048)

// TestAnswers: a table of calls, of what they answer, and of what is noted.
func TestAnswers(t *testing.T) {
	const (
		cwd  = unix.AT_FDCWD
		done = unix.Errno(0)
		char = unix.S_IFCHR | 0o666
	)
	own := os.Geteuid()
	foreign := unix.EPERM // what the kernel says to a user who gives away a file
	if own == 0 {
		foreign = 0
	}
	for _, tt := range []struct {
		try
		want unix.Errno
		path string // what has the note
		note string // of owners, or of a device when it has no colon before its end
	}{
		{try{"an owner", unix.SYS_FCHOWNAT, []any{cwd, "f", 12, 34, 0}}, done, "f", "12:34"},
		{try{"a group alone", unix.SYS_FCHOWNAT, []any{cwd, "f", -1, 34, 0}}, done, "f", "-1:34"},
		{try{"an owner alone", unix.SYS_FCHOWNAT, []any{cwd, "f", 12, -1, 0}}, done, "f", "12:-1"},
		{try{"a directory", unix.SYS_FCHOWNAT, []any{cwd, "d", 5, 6, 0}}, done, "d", "5:6"},
		{try{"through a link", unix.SYS_FCHOWNAT, []any{cwd, "l", 5, 6, 0}}, done, "f", "5:6"},
		{try{"a link itself", unix.SYS_FCHOWNAT, []any{cwd, "l", 5, 6, unix.AT_SYMLINK_NOFOLLOW}}, done, "f", ""},
		{try{"a fifo", unix.SYS_FCHOWNAT, []any{cwd, "p", 5, 6, 0}}, done, "p", ""},
		{try{"below a directory", unix.SYS_FCHOWNAT, []any{"@d", "f", 7, 8, 0}}, done, "d/f", "7:8"},
		{try{"up from a directory", unix.SYS_FCHOWNAT, []any{"@d", "../f", 7, 8, 0}}, done, "f", "7:8"},
		{try{"a descriptor", unix.SYS_FCHOWN, []any{"@f", 9, 9}}, done, "f", "9:9"},
		{try{"a descriptor with an empty path", unix.SYS_FCHOWNAT, []any{"@f", "", 9, 9, unix.AT_EMPTY_PATH}}, done, "f", "9:9"},
		{try{"the working directory", unix.SYS_FCHOWNAT, []any{cwd, "", 9, 9, unix.AT_EMPTY_PATH}}, done, ".", "9:9"},

		{try{"nothing there", unix.SYS_FCHOWNAT, []any{cwd, "nothing", 1, 1, 0}}, unix.ENOENT, "", ""},
		{try{"an empty path", unix.SYS_FCHOWNAT, []any{cwd, "", 1, 1, 0}}, unix.ENOENT, "", ""},
		{try{"no directory", unix.SYS_FCHOWNAT, []any{cwd, "f/x", 1, 1, 0}}, unix.ENOTDIR, "", ""},
		{try{"no descriptor", unix.SYS_FCHOWN, []any{77, 1, 1}}, unix.EBADF, "", ""},
		{try{"no directory descriptor", unix.SYS_FCHOWNAT, []any{77, "f", 1, 1, 0}}, unix.EBADF, "", ""},
		{try{"no memory", unix.SYS_FCHOWNAT, []any{cwd, 8, 1, 1, 0}}, unix.EFAULT, "", ""},
		{try{"a long path", unix.SYS_FCHOWNAT, []any{cwd, long, 1, 1, 0}}, unix.ENAMETOOLONG, "", ""},
		{try{"a magic link", unix.SYS_FCHOWNAT, []any{cwd, "/proc/self/exe", 1, 1, 0}}, unix.ELOOP, "", ""},

		{try{"ids that are the kernel's", unix.SYS_FCHOWNAT, []any{cwd, "f", -1, -1, 0}}, done, "f", ""},
		{try{"root of the kernel", unix.SYS_FCHOWNAT, []any{cwd, "f", 0, 0, 0}}, foreign, "f", ""},

		{try{"setuid", unix.SYS_SETUID, []any{5}}, done, "", ""},
		{try{"setgid", unix.SYS_SETGID, []any{5}}, done, "", ""},
		{try{"setreuid", unix.SYS_SETREUID, []any{-1, 5}}, done, "", ""},
		{try{"setregid", unix.SYS_SETREGID, []any{5, -1}}, done, "", ""},
		{try{"setresuid", unix.SYS_SETRESUID, []any{5, 6, 7}}, done, "", ""},
		{try{"setresgid", unix.SYS_SETRESGID, []any{5, 6, 7}}, done, "", ""},
		{try{"setgroups", unix.SYS_SETGROUPS, []any{0, 0}}, done, "", ""},
		{try{"a change to nobody else", unix.SYS_SETRESUID, []any{-1, -1, -1}}, done, "", ""},

		{try{"a device", unix.SYS_MKNODAT, []any{cwd, "c", char, 0x103}}, done, "c", "20640:259"},
		{try{"a block device", unix.SYS_MKNODAT, []any{"@d", "b", unix.S_IFBLK | 0o600, 0x801}}, done, "d/b", "60600:2049"},
		{try{"a device that is there", unix.SYS_MKNODAT, []any{cwd, "f", char, 0x103}}, unix.EEXIST, "f", ""},
		{try{"a device at a link", unix.SYS_MKNODAT, []any{cwd, "l", char, 0x103}}, unix.EEXIST, "f", ""},
		{try{"a device nowhere", unix.SYS_MKNODAT, []any{cwd, "no/c", char, 0x103}}, unix.ENOENT, "", ""},
		{try{"a device called ..", unix.SYS_MKNODAT, []any{cwd, "d/..", char, 0x103}}, unix.EEXIST, "", ""},
		{try{"a fifo of the kernel's", unix.SYS_MKNODAT, []any{cwd, "fifo", unix.S_IFIFO | 0o600, 0}}, done, "fifo", ""},
	} {
		t.Run(tt.Name, func(t *testing.T) {
			dir := tree(t)
			noted := sameAsRoot(t, dir)
			want := tt.want
			if !noted && tt.Call == unix.SYS_MKNODAT && tt.note != "" {
				want = unix.EPERM // a device can only be data where the union is
			}
			if got := run(t, dir, "", []try{tt.try})[0]; got != want {
				t.Fatalf("answered %v, want %v", got, want)
			}
			if tt.path == "" || !noted {
				return
			}
			attr, p := dialect.ChownXattr, filepath.Join(dir, tt.path)
			if tt.Call == unix.SYS_MKNODAT {
				attr = dialect.MknodXattr
			}
			if got := kept(t, p, attr); got != tt.note {
				t.Errorf("%s of %s is %q, want %q", attr, tt.path, got, tt.note)
			}
		})
	}
}

// TestNobodyChanged: what was answered "done" has changed no id.
func TestNobodyChanged(t *testing.T) {
	dir := tree(t)
	before := os.Geteuid()
	// A file that it makes afterwards belongs to whom it did before.
	answers := run(t, dir, "", []try{
		{"setuid", unix.SYS_SETRESUID, []any{5, 5, 5}},
		{"make", unix.SYS_MKDIRAT, []any{unix.AT_FDCWD, "made", 0o755}},
	})
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "made"), &st); err != nil || answers[0] != 0 || int(st.Uid) != before {
		t.Errorf("%v, %v, owner %d", answers, err, st.Uid)
	}
}

// TestOtherRoot: in a chroot, paths and links mean what they mean there, and
// lead nowhere else.
func TestOtherRoot(t *testing.T) {
	require.Root(t)
	dir := tree(t)
	jail := filepath.Join(dir, "jail")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(jail, "in"), 0o755), os.Mkdir(filepath.Join(jail, "d"), 0o755),
		os.WriteFile(filepath.Join(jail, "f"), nil, 0o644), os.WriteFile(filepath.Join(jail, "d/f"), nil, 0o644),
		os.Symlink("../../../../f", filepath.Join(jail, "up")), os.Symlink("/d", filepath.Join(jail, "top")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tries := []try{
		{"absolute", unix.SYS_FCHOWNAT, []any{unix.AT_FDCWD, "/f", 1, 2, 0}},
		{"a link up", unix.SYS_FCHOWNAT, []any{unix.AT_FDCWD, "/up", 3, 4, 0}},
		{"a link to the top", unix.SYS_FCHOWNAT, []any{unix.AT_FDCWD, "../top/f", 5, 6, 0}},
		{"out", unix.SYS_FCHOWNAT, []any{unix.AT_FDCWD, "../../../l", 7, 8, 0}},
		{"a device", unix.SYS_MKNODAT, []any{unix.AT_FDCWD, "../../dev", unix.S_IFCHR | 0o600, 0x103}},
	}
	got := run(t, dir, jail, tries)
	device := unix.Errno(0)
	if !sameAsRoot(t, dir) {
		device = unix.EPERM
	}
	for i, want := range []unix.Errno{0, 0, 0, unix.ENOENT, device} {
		if got[i] != want {
			t.Errorf("%s: %v, want %v", tries[i].Name, got[i], want)
		}
	}
	if device != 0 {
		return // nothing is noted there
	}
	for p, want := range map[string]string{"jail/f": "3:4", "jail/d/f": "5:6", "f": "", "d/f": ""} {
		if note := kept(t, filepath.Join(dir, p), dialect.ChownXattr); note != want {
			t.Errorf("%s: %q, want %q", p, note, want)
		}
	}
	if note := kept(t, filepath.Join(jail, "dev"), dialect.MknodXattr); note == "" {
		t.Error("the device isn't where it was made")
	}
}

// TestProgram: the filter lets everything through that no row of its table
// names, and what another architecture's numbers mean.
func TestProgram(t *testing.T) {
	if auditArch == 0 {
		t.Skip("no table for this architecture")
	}
	p := program(auditArch, calls)
	for i, ins := range p {
		if ins.Code&0x07 != unix.BPF_JMP {
			continue
		}
		if i+1+int(max(ins.Jt, ins.Jf)) >= len(p) {
			t.Errorf("instruction %d jumps out of the program", i)
		}
	}
	if last := p[len(p)-1]; last.Code != ret || last.K != retAllow {
		t.Errorf("the program ends with %+v", last)
	}
	for _, c := range calls {
		at, ok := where(int32(c.nr))
		if c.notify != ok {
			t.Errorf("call %d: sent to Serve %v, known to it %v", c.nr, c.notify, ok)
		}
		if ok && c.mode > 0 && (at.mode != c.mode || at.dev != c.dev) {
			t.Errorf("call %d: the filter looks at %d and %d, Serve at %d and %d", c.nr, c.mode, c.dev, at.mode, at.dev)
		}
		if ok && c.mode == 0 && (at.uid != c.ids[0] || at.gid != c.ids[1]) {
			t.Errorf("call %d: the filter looks at %v, Serve at %d and %d", c.nr, c.ids, at.uid, at.gid)
		}
	}
}
