package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
)

// Between the upper and the host's root lies a small layer of our own: an empty
// directory for each of the fresh ones, a whiteout for each hidden path, and the
// files that are made for the sandbox. The directories that lead to them have
// the modes and times of the host's, with which they are merged.

// aptConf keeps apt from giving up its rights to a user that is not there, and
// checking that it did: in a sandbox of one id nobody can.
const (
	aptConf     = "/etc/apt/apt.conf.d/99plyfs"
	aptConfText = "APT::Sandbox::User \"root\";\n"
	resolvConf  = "/etc/resolv.conf"
	aptLog      = "/var/log/apt/term.log"
)

// builder makes the layer.
type builder struct {
	root  int
	host  int
	made  map[string]bool // directories
	dirs  []string        // in the order of making
	seen  map[string]bool // directories of the host, and whether they are there
	blank string          // the last empty file, "" before the first
}

// BuildView makes the layer anew in the directory of a sandbox; it notes in c
// which files it has made. The sandbox must not be mounted.
//
// hide are the paths to hide now, of all that ever were.
func (c *Config) BuildView(dir string, hide []string) error {
	return inDir(dir, func(fd int) error {
		if err := drop(fd, ViewDir); err != nil {
			return err
		}
		root, err := openMake(fd, ViewDir)
		if err != nil {
			return err
		}
		defer sys.Close(root)
		host, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/: %w", err)
		}
		defer sys.Close(host)
		b := &builder{root: root, host: host, made: map[string]bool{}, seen: map[string]bool{}}
		if err := c.build(b, hide); err != nil {
			return fmt.Errorf("the layer of the view: %w", err)
		}
		return nil
	})
}

func (c *Config) build(b *builder, hide []string) error {
	for _, p := range fresh {
		if err := b.empty(p); err != nil {
			return err
		}
	}
	if c.Store != "" {
		hide = append(slices.Clone(hide), c.Store)
	}
	for _, p := range hide {
		if hidden(path.Dir(p), hide) {
			continue
		}
		if err := b.hide(p); err != nil {
			return err
		}
	}
	for p, text := range c.standIns(b) {
		if hidden(p, hide) {
			continue
		}
		if err := b.file(p, text); err != nil {
			return err
		}
		if !slices.Contains(c.Made, p) {
			c.Made = append(c.Made, p)
		}
	}
	slices.Sort(c.Made)
	return b.finish()
}

// hidden says whether p is one of the hidden paths or below one. Nothing of our
// own may be made there: the directories that lead to it would be seen.
func hidden(p string, hide []string) bool {
	for ; p != "/"; p = path.Dir(p) {
		if slices.Contains(hide, p) {
			return true
		}
	}
	return false
}

// standIns are the files that are made for the sandbox, with their text.
func (c *Config) standIns(b *builder) map[string]string {
	made := map[string]string{}
	// A link to what a resolver keeps in /run leads nowhere in the view.
	if to, err := filepath.EvalSymlinks(resolvConf); err == nil && strings.HasPrefix(to, "/run/") {
		if text, err := os.ReadFile(to); err == nil {
			made[resolvConf] = string(text)
		}
	}
	if !c.Virtual {
		return made
	}
	if b.has(path.Dir(aptConf)) {
		made[aptConf] = aptConfText
	}
	// What tools for users and packages must read and the user may not: nobody
	// can log in by these.
	if closed("/etc/shadow") {
		made["/etc/shadow"] = shadowOf("/etc/passwd", ":*:0:0:99999:7:::")
	}
	if closed("/etc/gshadow") {
		made["/etc/gshadow"] = shadowOf("/etc/group", ":*::")
	}
	if closed(aptLog) {
		made[aptLog] = ""
	}
	return made
}

// closed says whether a file is there and can't be read by us.
func closed(p string) bool { return errors.Is(unix.Access(p, unix.R_OK), unix.EACCES) }

// shadowOf has a line with no password for each line of a file of users or
// groups.
func shadowOf(p, rest string) string {
	text, err := os.ReadFile(p)
	if err != nil {
		return ""
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" && name[0] != '#' {
			out.WriteString(name + rest + "\n")
		}
	}
	return out.String()
}

// has says whether the host has a directory there that we can look at.
func (b *builder) has(p string) bool {
	there, known := b.seen[p]
	if !known {
		fd, e := beneath(b.host, p, unix.O_PATH|unix.O_DIRECTORY)
		if e == 0 {
			sys.Close(fd)
		}
		there = e == 0
		b.seen[p] = there
	}
	return there
}

// dir makes the directories of the layer down to p and opens the last one.
func (b *builder) dir(p string) (int, error) {
	if p == "/" {
		fd, e := sys.Open(b.root, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		return fd, asError(e)
	}
	if b.made[p] {
		fd, e := beneath(b.root, p, unix.O_RDONLY|unix.O_DIRECTORY)
		return fd, asError(e)
	}
	parent, err := b.dir(path.Dir(p))
	if err != nil {
		return -1, err
	}
	defer sys.Close(parent)
	b.made[p] = true
	b.dirs = append(b.dirs, p)
	return openMake(parent, path.Base(p))
}

// empty makes a directory in which nothing of the host shows.
func (b *builder) empty(p string) error {
	if !b.has(p) {
		return nil
	}
	fd, err := b.dir(p)
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	return b.mark(fd, p, dialect.DotWhOpaqueName)
}

// hide makes a whiteout. Where the directory of p isn't there, or can't be
// seen, there is nothing to hide.
func (b *builder) hide(p string) error {
	if p == "/" {
		return errors.New("/ can't be hidden")
	}
	if !b.has(path.Dir(p)) {
		return nil
	}
	name, ok := dialect.DotWhName(path.Base(p))
	if !ok {
		return fmt.Errorf("%s can't be hidden: its name is too long or begins with %s", Quote(p), dialect.DotWhPrefix)
	}
	fd, err := b.dir(path.Dir(p))
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	return b.mark(fd, path.Dir(p), name)
}

// mark makes an empty file that is there for its name. All of them are one file,
// where that can be: a file costs several times what a name costs, when it is made
// and when it goes.
func (b *builder) mark(dirfd int, dir, name string) error {
	if b.blank != "" {
		from, e := beneath(b.root, path.Dir(b.blank), unix.O_PATH|unix.O_DIRECTORY)
		if e == 0 {
			e = sys.Link(from, path.Base(b.blank), dirfd, name)
			sys.Close(from)
		}
		if e == 0 || e == unix.EEXIST {
			return nil
		}
	}
	fd, e := sys.Open(dirfd, name, unix.O_CREAT|unix.O_WRONLY, 0o600)
	if e == 0 {
		sys.Close(fd)
		b.blank = path.Join(dir, name)
	}
	return asError(e)
}

func (b *builder) file(p, text string) error {
	fd, err := b.dir(path.Dir(p))
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	f, e := sys.Open(fd, path.Base(p), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
	if e != 0 {
		return e
	}
	defer sys.Close(f)
	if _, e := sys.Pwrite(f, []byte(text), 0); e != 0 {
		return e
	}
	return asError(sys.ChmodFD(f, 0o644))
}

// finish gives the directories the modes, owners and times of the host's.
func (b *builder) finish() error {
	for _, p := range append(slices.Clone(b.dirs), "/") {
		from, e := beneath(b.host, p, unix.O_PATH|unix.O_DIRECTORY)
		if e != 0 {
			continue // gone meanwhile
		}
		var st sys.Stat
		e = sys.StatFD(from, &st)
		sys.Close(from)
		if e != 0 {
			return failed("looking at", p, e)
		}
		fd, e := beneath(b.root, p, unix.O_RDONLY|unix.O_DIRECTORY)
		if e != 0 {
			return failed("opening", p, e)
		}
		if privileged() {
			e = sys.ChownFD(fd, int(st.Uid), int(st.Gid))
		}
		if e == 0 {
			// What the owner may not do, we could not do either.
			e = sys.ChmodFD(fd, st.Mode&0o7777|0o700)
		}
		if e == 0 {
			e = sys.UtimesFD(fd, st.Atim, st.Mtim)
		}
		sys.Close(fd)
		if e != 0 {
			return failed("setting the attributes of", p, e)
		}
	}
	return nil
}

func splitLines(text string) (lines []string) {
	for l := range strings.Lines(text) {
		if l = strings.TrimSuffix(l, "\n"); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}
