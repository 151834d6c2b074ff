package dialect

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/sys"
)

// To is the dialect that Mend turns everything into.
type To uint8

// The targets. ToEach leaves each mark in the form that it has.
const (
	ToEach To = iota
	ToKernel
	ToUserXattr
	ToFuse
)

var toWords = [...]string{"", "kernel", "userxattr", "fuse-overlayfs"}

// CanTrust says whether this process may write the marks of ToKernel.
func CanTrust() bool { return seesTrusted() }

// ParseTo reads the word for a target.
func ParseTo(word string) (To, error) {
	for i, w := range toWords {
		if i > 0 && w == word {
			return To(i), nil
		}
	}
	return ToEach, badValue("unknown dialect: kernel, userxattr and fuse-overlayfs are there")
}

func (t To) String() string { return toWords[t] }

// Mended is one thing that was put right, or couldn't be.
type Mended struct {
	Finding        // Detail says what was done, or what should have been
	Err     error  // why it couldn't be done
	Lost    string // where in lost+found an object is now
}

// String is the result as one line.
func (m Mended) String() string {
	text := strings.Replace(m.Finding.String(), m.Severity.String(), "mended", 1)
	if m.Err != nil {
		text = "not " + text + ": " + m.Err.Error()
	}
	if m.Lost != "" {
		text += ": it is " + quotePath(m.Lost) + " now"
	}
	return text
}

// Repair says what Mend is to do.
type Repair struct {
	Upper  int // descriptors
	Work   int // -1 when there is none
	Beside int // the directory that lost+found is made in: that of the work directory
	To     To
	Report func(Mended)
}

// Mend puts right what Check finds, as far as that is possible without
// guessing, and turns marks into another dialect. Each step is one that plyfs'
// view of the upper is the same before and after, also when it is interrupted:
// what says something new is there before the old goes. Data are never deleted:
// what is in the way is moved to lost+found. Nobody may have the upper mounted.
func Mend(r Repair) error {
	m := &mender{Repair: r, lost: lostFound{beside: r.Beside, fd: -1}, stage: -1}
	c := &checker{list: make([]byte, xattrListMax), value: make([]byte, xattrSizeMax), direnv: make([]byte, bigBatch), mend: m}
	m.c = c
	defer m.close()
	fd, e := sys.Open(r.Upper, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	if err := c.walk(fd); err != nil {
		return err
	}
	if r.Work >= 0 {
		c.inWork, c.path = true, nil
		m.work()
	}
	return nil
}

// mender is one run of Mend.
type mender struct {
	Repair
	c     *checker
	lost  lostFound
	stage int // where objects are made before they get their name, -1 = not yet
}

// fix is something to be done in a directory once all of it has been read: what
// changes while it is read could be missed or met twice.
type fix struct {
	name   string // "" = the directory itself
	kind   Kind
	detail string
	do     func(l *level) (lost string, err error)
	keeps  bool // no name in the directory changes
}

func (m *mender) close() {
	m.lost.close(m.stage)
	if m.stage >= 0 && m.stage != m.lost.fd {
		sys.Close(m.stage)
	}
}

// plan notes what is to be done with name in l.
func (l *level) plan(name string, k Kind, detail string, do func(l *level) (string, error)) {
	l.fixes = append(l.fixes, fix{name: name, kind: k, detail: detail, do: do})
}

// planXattr is plan for what changes xattrs only.
func (l *level) planXattr(name string, k Kind, detail string, do func(l *level) syscall.Errno) {
	l.fixes = append(l.fixes, fix{name: name, kind: k, detail: detail, keeps: true, do: func(l *level) (string, error) {
		return "", nilOr(do(l))
	}})
}

func nilOr(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// errKept is an answer of fixes that can't be done.
type errKept string

func (e errKept) Error() string { return string(e) }

// apply does what was noted for a directory that has been read, and gives the
// directory its times back.
func (m *mender) apply(l *level) {
	if len(l.fixes) == 0 {
		return
	}
	var st sys.Stat
	timed := sys.StatFD(l.fd, &st) == 0
	names := false
	// The directory's own marks last: what they say of its names must not go first.
	slices.SortStableFunc(l.fixes, func(a, b fix) int { return own(a) - own(b) })
	for _, f := range l.fixes {
		fail.Point("fsck.fix")
		lost, err := f.do(l)
		names = names || !f.keeps
		m.report(f.name, f.kind, f.detail, lost, err)
	}
	fail.Point("fsck.times")
	if names && timed {
		_ = sys.UtimesFD(l.fd, st.Atim, st.Mtim)
	}
	l.fixes = nil
}

func own(f fix) int {
	if f.name == "" {
		return 1
	}
	return 0
}

func (m *mender) report(name string, k Kind, detail, lost string, err error) {
	if errors.Is(err, unix.ENOENT) {
		return // gone meanwhile
	}
	m.Report(Mended{
		Finding: Finding{Path: m.c.join(name), InWork: m.c.inWork, Kind: k, Severity: SevWarning, Detail: detail},
		Err:     err, Lost: lost,
	})
}

// ns is the namespace that marks are written in.
func (m *mender) ns() NS {
	if m.To == ToKernel || m.To == ToEach && seesTrusted() {
		return NSTrusted
	}
	return NSUser
}

// markOpaque marks a directory in the form that is asked for; name "" is the
// directory dirfd itself.
func (m *mender) markOpaque(dirfd int, name string) syscall.Errno {
	if m.To != ToFuse {
		return sys.SetXattr(dirfd, name, m.ns().Opaque(), []byte("y"), 0)
	}
	fd, e := sys.Open(dirfd, orDot(name), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return e
	}
	defer sys.Close(fd)
	if e := sys.SetXattr(fd, "", FuseOpaque, []byte("y"), 0); e != 0 {
		return e
	}
	fail.Point("fsck.opaque")
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 {
		return e
	}
	// Its readers of all versions know the file.
	e = sys.Mknod(fd, DotWhOpaqueName, unix.S_IFREG|0o644, 0)
	if e == unix.EEXIST {
		return 0
	}
	_ = sys.UtimesFD(fd, st.Atim, st.Mtim)
	return e
}

func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}
