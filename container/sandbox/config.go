package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Config is what is kept of a sandbox beside its upper, in sandbox.json.
type Config struct {
	Version int   `json:"version"`
	Since   int64 `json:"since"`   // see View
	Virtual bool  `json:"virtual"` // see View

	// Hide, Pass and ReadOnly are all the paths that ever were hidden, passed
	// through and made read-only: the sandbox did not see them, or not as
	// something to be changed.
	Hide     []string `json:"hide,omitempty"`
	Pass     []string `json:"pass,omitempty"`
	ReadOnly []string `json:"read_only,omitempty"`
	// Store is the directory that holds all sandboxes.
	Store string `json:"store"`
	// Made are the files that were made for the sandbox.
	Made []string `json:"made,omitempty"`
}

const (
	configFile    = "sandbox.json"
	configVersion = 1
	// ViewDir is the directory of the layer between the upper and the host.
	ViewDir = "view"
	// ClosedFile has the paths of directories that could not be read, one a
	// line. The server of the root writes it.
	ClosedFile = "closed"
)

// fresh are the top-level directories of the host that no view shows.
var fresh = []string{"/proc", "/sys", "/dev", "/run", "/tmp"}

// Fresh lists them.
func Fresh() []string { return slices.Clone(fresh) }

// Load reads the configuration of the sandbox in dir.
func Load(dir string) (*Config, error) {
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return nil, err
	}
	c := new(Config)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	if c.Version != configVersion {
		return nil, fmt.Errorf("%s was written by another version of plyfs (%d, and this one knows %d)", filepath.Join(dir, configFile), c.Version, configVersion)
	}
	return c, nil
}

// Save writes it. A new sandbox gets its time by that: the time of the host's
// files and not of a clock. It isn't synced: nothing else of a sandbox that just
// begins is, and a disk may take longer for it than the command takes; see Sync.
func (c *Config) Save(dir string) error {
	c.Version = configVersion
	return inDir(dir, func(fd int) error {
		if c.Since == 0 {
			mark := tmpName()
			f, e := sys.Open(fd, mark, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
			if e != 0 {
				return failed("writing to", dir, e)
			}
			var st sys.Stat
			e = sys.StatFD(f, &st)
			sys.Close(f)
			_ = sys.Unlink(fd, mark)
			if e != 0 {
				return failed("writing to", dir, e)
			}
			c.Since = st.Ctim.Nano()
		}
		return writeJSON(fd, configFile, c, false)
	})
}

// Sync has the disk hold what was saved of the sandbox in dir, so that a crash of
// the machine leaves one that can be read. It tells no errors: what then isn't
// durable is as it was before.
func Sync(dir string) {
	_ = inDir(dir, func(fd int) error {
		f, e := sys.Open(fd, configFile, unix.O_RDONLY, 0)
		if e != 0 {
			return e
		}
		defer sys.Close(f)
		if e := sys.Fsync(f); e != 0 {
			return e
		}
		return asError(sys.Fsync(fd))
	})
}

// Add puts more paths into the lists; they have to be absolute and clean.
func (c *Config) Add(hide, pass, readOnly []string) {
	for _, l := range []struct {
		to   *[]string
		more []string
	}{{&c.Hide, hide}, {&c.Pass, pass}, {&c.ReadOnly, readOnly}} {
		for _, p := range l.more {
			if !slices.Contains(*l.to, p) {
				*l.to = append(*l.to, p)
			}
		}
	}
}

// Protected are the paths that are never touched on the host, with the reason.
func (c *Config) Protected() map[string]string {
	m := map[string]string{}
	for _, p := range c.Made {
		m[p] = "made for the sandbox"
	}
	for _, p := range c.ReadOnly {
		m[p] = "read-only in the sandbox"
	}
	for _, p := range c.Pass {
		m[p] = "passed through"
	}
	for _, p := range c.Hide {
		m[p] = "hidden from the sandbox"
	}
	for _, p := range fresh {
		m[p] = "not a part of the host's tree"
	}
	if c.Store != "" {
		m[c.Store] = "where sandboxes are kept"
	}
	return m
}

// Open opens the upper of the sandbox in dir beside the host's root; close ends
// it.
func (c *Config) Open(dir string) (v *View, closeAll func(), err error) {
	host, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("/: %w", err)
	}
	up := filepath.Join(dir, upperName)
	upper, err := unix.Open(up, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		sys.Close(host)
		return nil, nil, fmt.Errorf("%s: %w", up, err)
	}
	v = &View{Upper: upper, Host: host, Virtual: c.Virtual, Since: c.Since, Protected: c.Protected()}
	return v, func() { sys.Close(host); sys.Close(upper) }, nil
}

// NoteClosed notes a directory that is shown empty. It is called by the server
// of the root of the sandbox in dir.
func NoteClosed(dir, p string) {
	f, err := os.OpenFile(filepath.Join(dir, ClosedFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return // it is for the summary only
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%q\n", p)
}

// Closed reads which directories were shown empty because the user may not
// read them.
func Closed(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, ClosedFile))
	if err != nil {
		return nil
	}
	var list []string
	for _, p := range splitLines(string(text)) {
		if p, err := strconv.Unquote(p); err == nil {
			list = append(list, path.Clean(p))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
