package container

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/nofile"
	"github.com/plyfs/plyfs/container/steps"
	"github.com/plyfs/plyfs/fs/fail"
)

// The init of an ordinary container is no program: the stage forks, and the copy
// executes a list of system calls that the stage has prepared while it had nothing
// else to do (package steps). The list does what initProcess does, call by call,
// for the case that all goes well. Whatever it doesn't foresee ends it, before the
// payload has begun, and the monitor starts the container once more with the program,
// which says what was wrong or can deal with it. Hence each step here has its
// likeness there, and who changes one changes both; TestQuick compares what payloads
// of both find.

// again is what a quick init says when something isn't as foreseen.
const again = "again"

// who is what it says when it has its root. The databases of users and groups
// follow, each as a packet of its own. The answer is a reply.
const who = "who"

var databases = [...]string{"/etc/passwd", "/etc/group"}

// maxQuickFile bounds them.
const maxQuickFile = 32 << 10

// reply is what a quick init learns before it goes on.
type reply struct {
	count  uint32
	groups [64]uint32
	home   [1024]byte // HOME=…, as C has it
}

// bytes are what travels.
func (r *reply) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
}

// isFiltered says whether compileFilter gives a program.
func (o *order) isFiltered() bool { return !o.Spec.Process.Seccomp.Unconfined || o.pretends() }

// pretends says that changes of owners are to seem to succeed.
func (o *order) pretends() bool {
	return o.Inner.single() && o.Spec.IDs.Virtual && !o.Spec.Process.Notify
}

// isQuick says whether a container's init can be a list: what the list doesn't
// know can't be asked for.
func (o *order) isQuick() bool {
	s := &o.Spec
	p := &s.Process
	return nofile.Known() && !o.HostRoot && !o.Guarded && !o.Outer.none() && !o.Inner.none() &&
		s.Root.FS != "" && s.Root.Dir == "" && len(s.Mounts) == 0 && len(s.Devices) == 0 && len(s.Sysctl) == 0 &&
		s.Net.Mode != NetHost && !s.Init && len(o.Job) == 0 &&
		!p.Terminal && !p.NewPrivs && !p.Notify && p.User == "" && len(p.Args) > 0 && onlyEtc(s.Files)
}

// onlyEtc says that the files lie where the list can make them.
func onlyEtc(files map[string]string) bool {
	for name := range files {
		if path.Dir(name) != "/etc" {
			return false
		}
	}
	return true
}

// answer tells a quick init who its user is: root, for whom these databases of the
// container's root have a home and groups. The program has to see to all else.
func (o *order) answer(init peer) error {
	var text [len(databases)][]byte
	for i := range text {
		b, err := init.read()
		if err != nil {
			return err
		}
		text[i] = b[1:]
		if len(text[i]) == maxQuickFile {
			return errAgain // there may be more
		}
	}
	r, ok := o.quickUser(text[0], text[1])
	if !ok {
		return errAgain
	}
	if err := init.write(r.bytes()); err != nil && !errors.Is(err, unix.EPIPE) {
		return err // without a reader it has said why
	}
	fail.Point("start.told")
	return nil
}

func (o *order) quickUser(passwd, group []byte) (r reply, ok bool) {
	u, err := findUser("", passwd, group)
	if err != nil || u.uid != 0 || u.gid != 0 || u.mapped(o.Inner) != nil {
		return r, false
	}
	if len(u.groups) > len(r.groups) || len(u.home)+6 > len(r.home) || strings.Contains(u.home, "\x00") {
		return r, false
	}
	for _, g := range u.groups {
		r.groups[r.count] = uint32(g)
		r.count++
	}
	copy(r.home[:], "HOME="+u.home)
	return r, true
}

// quickInit is a list in the making.
type quickInit struct {
	*order
	*steps.List
	filter *unix.SockFprog // of the payload; it comes last
	reply  *reply

	root, dev, scratch steps.Result
	fd, to, ctx        steps.Result // for a moment
	st                 *unix.Statx_t
}

// The descriptors of a quick init.
const (
	quickMonitor = 3
	quickStage   = 4
	quickFuse    = 60
)

// newQuick prepares the list. stage is our end of the socket to the server's
// process; an error says that the program has to do it.
func newQuick(o *order, open Opener, stage peer) (*quickInit, error) {
	q := &quickInit{order: o, List: new(steps.List), reply: new(reply), st: new(unix.Statx_t), filter: new(unix.SockFprog)}
	q.Failing(q.sends(quickMonitor, message{What: again}))
	q.fd, q.to, q.ctx = q.Place(), q.Place(), q.Place()
	for _, step := range []func() error{
		func() error { return q.begin(int(stage.f.Fd())) },
		func() error { return q.mountRoot(open) },
		q.ask,
		q.build,
		q.pivot,
		q.settle,
		q.become,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// start makes the process. The program is the seccomp filter of its payload.
func (q *quickInit) start(program []byte) (int, error) {
	if len(program) > 0 != q.isFiltered() {
		return 0, errors.New("a filter of system calls that nobody expected, or none") // a fault in plyfs
	}
	if len(program) > 0 {
		q.filter.Len = uint16(len(program) / int(unsafe.Sizeof(unix.SockFilter{})))
		q.filter.Filter = (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(program)))
	}
	if q.Spec.Net.Mode == NetUser {
		// What connects the network enters init's namespaces, which it may not as
		// long as init's memory is, by its origin, the server's: so from its first
		// moment until it is connected it is open to others of the same user.
		// Nothing runs in the container yet.
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		defer func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }()
	}
	pid, err := q.Start(q.namespaces()|unix.CLONE_PARENT, q.mapIDs)
	if err != nil {
		return pid, namespaceError(err)
	}
	return pid, nil
}

// mapIDs maps the ids of a process in its new user namespace.
func (q *quickInit) mapIDs(pid int) error {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if q.Inner.single() {
		if err := os.WriteFile(dir+"setgroups", []byte("deny"), 0); err != nil {
			return err
		}
	}
	for name, lines := range map[string][]idMap{"uid_map": q.Inner.UID, "gid_map": q.Inner.GID} {
		var text []byte
		for _, l := range lines {
			text = fmt.Appendf(text, "%d %d %d\n", l.Inside, l.Outside, l.Size)
		}
		if err := os.WriteFile(dir+name, text, 0); err != nil {
			return err
		}
	}
	return nil
}
