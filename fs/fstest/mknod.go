package fstest

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mknodCases: fifos, sockets and devices.
func mknodCases() []Case {
	return []Case{
		{
			Name:  "regular files, fifos and sockets are made with their mode",
			Lower: Tree{"d/x": File(""), "taken": File("")},
			Run: func(_ *testing.T, e *Env) {
				for n, typ := range map[string]uint32{"r": unix.S_IFREG, "p": unix.S_IFIFO, "s": unix.S_IFSOCK} {
					e.ok(unix.Mknod(e.p("d/"+n), typ|0o640, 0))
					st := e.lstat("d/" + n)
					e.equal(st.Mode, typ|0o640, "mode of "+n)
					e.equal(st.Nlink, uint64(1), "link count of "+n)
					e.fails(unix.Mknod(e.p("taken"), typ|0o640, 0), unix.EEXIST)
				}
				e.wantNames("d", "p", "r", "s", "x")
			},
		},
		{
			Name:  "mknod over a whiteout, and a whiteout over what was made",
			Lower: Tree{"p": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("p")
				e.ok(unix.Mknod(e.p("p"), unix.S_IFIFO|0o644, 0))
				e.wantUpper("p p")
				e.unlink("p")
				e.gone("p")
				e.wantUpper("w p")
			},
		},
		{
			Name: "devices are made, shown with their numbers, and work", Needs: NeedDevices | NeedModes,
			Run: func(_ *testing.T, e *Env) {
				for n, d := range map[string]struct {
					typ    uint32
					ma, mi uint32
				}{"null": {unix.S_IFCHR, 1, 3}, "big": {unix.S_IFCHR, 511, 0xfffff}, "blk": {unix.S_IFBLK, 259, 70000}, "old": {unix.S_IFBLK, 8, 1}} {
					e.ok(unix.Mknod(e.p(n), d.typ|0o600, int(unix.Mkdev(d.ma, d.mi))))
					st := e.lstat(n)
					e.equal(st.Mode, d.typ|0o600, "mode of "+n)
					e.equal(st.Rdev, unix.Mkdev(d.ma, d.mi), "device of "+n)
				}
				e.put("null", "gone")
				e.want("null", "")
			},
		},
		{
			Name: "a lower device is shown with its numbers", Needs: NeedDevices, RO: true,
			Lower: Tree{"null": Chr(1, 3).Perm(0o666), "big": Chr(511, 0xabcde).Perm(0o600)},
			Run: func(_ *testing.T, e *Env) {
				e.equal(e.lstat("null").Rdev, unix.Mkdev(1, 3), "device")
				e.equal(e.lstat("null").Mode, uint32(unix.S_IFCHR|0o666), "mode")
				e.equal(e.lstat("big").Rdev, unix.Mkdev(511, 0xabcde), "device")
			},
		},
		{
			Name: "a lower device keeps its numbers at copy-up", Needs: NeedDevices | NeedModes,
			Lower: Tree{"null": Chr(1, 3).Perm(0o666)},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Chmod(e.p("null"), 0o600))
				e.equal(e.lstat("null").Rdev, unix.Mkdev(1, 3), "device")
				e.wantMode("null", 0o600)
				e.rename("null", "n2")
				e.equal(e.lstat("n2").Rdev, unix.Mkdev(1, 3), "device")
				e.wantUpper("w null", "c n2")
			},
		},
		{
			Name: "a character device 0:0 is refused: it would be a whiteout", Needs: NeedUnion,
			Lower: Tree{"f": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Mknod(e.p("w"), unix.S_IFCHR, 0), unix.EPERM)
				e.fails(unix.Mknod(e.p("w2"), unix.S_IFCHR|0o600, 0), unix.EPERM)
				e.wantNames(".", "f")
				e.wantUpper()
			},
		},
		{
			Name: "mknod of a device without the right to is EPERM", Needs: NeedUsers,
			Lower: Tree{"pub": Dir().Perm(0o777)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.fails(unix.Mknod(e.p("pub/c"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), unix.EPERM)
					e.ok(unix.Mknod(e.p("pub/p"), unix.S_IFIFO|0o666, 0))
				})
				e.wantNames("pub", "p")
			},
		},
		{
			Name:  "a lower fifo carries bytes with no copy-up",
			Lower: Tree{"p": Fifo().Perm(0o600)},
			Run: func(_ *testing.T, e *Env) {
				r := e.open("p", unix.O_RDONLY|unix.O_NONBLOCK)
				w := e.open("p", unix.O_WRONLY|unix.O_NONBLOCK)
				_, err := unix.Write(w, []byte("through"))
				e.ok(err)
				buf := make([]byte, 20)
				n, err := unix.Read(r, buf)
				e.ok(err)
				e.equal(string(buf[:n]), "through", "what came out")
			},
		},
		{
			Name: "a fifo goes on when it is renamed, linked and unlinked while open",
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Mknod(e.p("p"), unix.S_IFIFO|0o600, 0))
				r := e.open("p", unix.O_RDONLY|unix.O_NONBLOCK)
				e.rename("p", "q")
				e.link("q", "q2")
				e.unlink("q")
				w := e.open("q2", unix.O_WRONLY|unix.O_NONBLOCK)
				e.unlink("q2")
				_, err := unix.Write(w, []byte("x"))
				e.ok(err)
				_, err = unix.Read(r, make([]byte, 1))
				e.ok(err)
			},
		},
		{
			Name:  "an AF_UNIX socket is bound, connected to, found taken and removed",
			Lower: Tree{"run/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.alone(func() {
					e.ok(unix.Chdir(e.p("run"))) // sun_path is short
					s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
					e.ok(err)
					defer unix.Close(s)
					e.ok(unix.Bind(s, &unix.SockaddrUnix{Name: "sock"}))
					e.ok(unix.Listen(s, 1))
					c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
					e.ok(err)
					defer unix.Close(c)
					e.ok(unix.Connect(c, &unix.SockaddrUnix{Name: "sock"}))
					e.fails(unix.Bind(c, &unix.SockaddrUnix{Name: "sock"}), unix.EADDRINUSE, unix.EINVAL)
					a, _, err := unix.Accept(s)
					e.ok(err)
					defer unix.Close(a)
					_, err = unix.Write(c, []byte("hello"))
					e.ok(err)
					buf := make([]byte, 10)
					n, err := unix.Read(a, buf)
					e.ok(err)
					e.equal(string(buf[:n]), "hello", "what came through")
				})
				e.equal(e.lstat("run/sock").Mode&unix.S_IFMT, uint32(unix.S_IFSOCK), "kind")
				e.unlink("run/sock")
				e.wantUpper("d run")
			},
		},
		{
			Name:    "a program runs, from a lower and copied, and is busy while it does",
			Lower:   Tree{"sleep": File(program("sleep")).Perm(0o755), "true": File(program("true")).Perm(0o755)},
			Differs: map[string]string{Overlay: "the program's text is the layer's inode there: a writer isn't refused"},
			Run: func(_ *testing.T, e *Env) {
				run := func(name string, args ...string) *os.Process {
					e.T.Helper()
					p, err := os.StartProcess(e.p(name), append([]string{name}, args...), &os.ProcAttr{})
					e.ok(err)
					return p
				}
				st, err := run("true").Wait()
				e.ok(err)
				e.equal(st.ExitCode(), 0, "exit code")
				p := run("sleep", "100")
				_, err = e.tryOpen("sleep", unix.O_WRONLY)
				if !e.Differs() {
					e.fails(err, unix.ETXTBSY)
				}
				e.ok(p.Kill())
				_, err = p.Wait()
				e.ok(err)
				fd := e.open("true", unix.O_RDWR)
				_, err = os.StartProcess(e.p("true"), []string{"true"}, &os.ProcAttr{})
				if !e.Differs() {
					e.fails(err, syscall.ETXTBSY)
				}
				e.pwrite(fd, "\x7fELF", 0) // copies up
				e.close(fd)
				st, err = run("true").Wait()
				e.ok(err)
				e.equal(st.ExitCode(), 0, "exit code after the copy-up")
				e.ok(unix.Chmod(e.p("true"), 0o644))
				_, err = os.StartProcess(e.p("true"), []string{"true"}, &os.ProcAttr{})
				e.fails(err, unix.EACCES)
			},
		},
		{
			Name:  "a script of a lower runs",
			Lower: Tree{"hi": File("#!/bin/sh\nread x < \"$1\"; test \"$x\" = data\n").Perm(0o755), "f": File("data\n")}, RO: true,
			Run: func(_ *testing.T, e *Env) {
				p, err := os.StartProcess(e.p("hi"), []string{"hi", e.p("f")}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
				e.ok(err)
				st, err := p.Wait()
				e.ok(err)
				e.is(st.Success(), "the script: %v", st)
			},
		},
	}
}

// program is the text of a program of the machine; its libraries stay where
// they are.
func program(name string) string {
	b, err := os.ReadFile("/bin/" + name)
	if err != nil {
		return "#!/bin/sh\nexec " + strings.TrimSpace(name) + " \"$@\"\n"
	}
	return string(b)
}
