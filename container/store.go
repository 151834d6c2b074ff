package container

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/layer"
)

// Store keeps containers on disk:
//
//	ROOT/names.lock             held while a name or a range of ids is given out
//	ROOT/containers/ID/         mode 0700
//	    spec.json, state.json   replaced by rename
//	    lock                    held while the state changes
//	    upper/, work/           what a served root writes
//	    log, log.1              output of a container in the background
//	    server.log              what the server of the root had to say
//
// A directory whose name begins with a dot is being made or being removed; one
// that nobody has touched for an hour is removed by whoever makes the next.
type Store struct{ root string }

// DefaultRoot is where the data of the calling user lies.
func DefaultRoot() (string, error) {
	if dir := os.Getenv("PLYFS_ROOT"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/plyfs", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "plyfs"), nil
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errors.New("no place for data: set HOME, XDG_DATA_HOME or --root")
	}
	return filepath.Join(home, ".local/share/plyfs"), nil
}

// OpenStore opens the store below root, or makes it.
func OpenStore(root string) (*Store, error) {
	s := &Store{root: root}
	if err := os.MkdirAll(filepath.Join(root, "containers"), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; --root names another", err)
	}
	return s, nil
}

// Root is the directory of the store.
func (s *Store) Root() string { return s.root }

func (s *Store) dir(id string) string { return filepath.Join(s.root, "containers", id) }

// Container is one container of a store.
type Container struct {
	ID    string
	store *Store
	spec  Spec
}

// ErrNotFound is the error of Find.
var ErrNotFound = errors.New("no such container")

// maxName keeps names in a line of ps, and in a file name.
const maxName = 128

// checkName has docker's rule.
func checkName(name string) error {
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("_.-", r)
	}
	if name == "" || len(name) > maxName || strings.ContainsRune("_.-", rune(name[0])) || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is not a name: letters, digits, and _.- after the first one", name)
	}
	return nil
}

// draft is a container that isn't in the store yet.
type draft struct {
	c         *Container
	name, tmp string
}

// draft checks what Create is told, and changes nothing.
func (s *Store) draft(name string, spec *Spec) (*draft, error) {
	raw := make([]byte, 32)
	if _, err := unix.Getrandom(raw, 0); err != nil {
		return nil, fmt.Errorf("an id: %w", err)
	}
	c := &Container{ID: hex.EncodeToString(raw), store: s, spec: *spec}
	if name == "" {
		name = c.Short()
	} else if err := checkName(name); err != nil {
		return nil, err
	}
	if c.spec.Hostname == "" {
		c.spec.Hostname = c.Short()
	}
	if err := c.spec.check(); err != nil {
		return nil, err
	}
	return &draft{c, name, s.dir("." + c.ID)}, nil
}

// Create makes a container; with no name it is called by the start of its id.
func (s *Store) Create(name string, spec *Spec) (*Container, error) {
	d, err := s.draft(name, spec)
	if err != nil {
		return nil, err
	}
	if err = d.make(); err == nil {
		err = d.enter(d.state())
	}
	if err != nil {
		d.drop()
		return nil, err
	}
	return d.c, nil
}

// make makes its directories, where nobody finds them.
func (d *draft) make() error {
	err := os.Mkdir(d.tmp, 0o700)
	for _, name := range []string{"upper", "work"} {
		if err != nil {
			break
		}
		path := filepath.Join(d.tmp, name)
		if err = os.Mkdir(path, 0o755); err == nil && name == "upper" {
			err = os.Chmod(path, 0o755) // that of the container's root
		}
	}
	fail.Point("create.made")
	return err
}

// drop takes back what make and a failed enter have made: nothing was ever
// mounted there.
func (d *draft) drop() { os.RemoveAll(d.tmp) }

func (d *draft) state() *State {
	return &State{Name: d.name, Status: Created, Created: time.Now().Round(0)}
}

// enter gives a new container its name, its range of ids, and its place.
func (d *draft) enter(st *State) error {
	if err := writeNew(filepath.Join(d.tmp, "spec.json"), &d.c.spec); err != nil {
		return err
	}
	s := d.c.store
	l, err := lock(filepath.Join(s.root, "names.lock"))
	if err != nil {
		return err
	}
	defer l.Close()
	s.sweep()
	others, err := s.List()
	if err != nil {
		return err
	}
	slots := make(map[int]bool)
	for _, o := range others {
		of, err := o.stored()
		if err != nil {
			continue
		}
		if of.Name == st.Name {
			return fmt.Errorf("the name %s is taken by the container %s: plyfs rm %s gives it back", st.Name, o.Short(), st.Name)
		}
		slots[of.Slot] = true
	}
	for os.Geteuid() == 0 && slots[st.Slot] {
		if st.Slot++; st.Slot == rangeCount {
			return fmt.Errorf("there are %d containers and no range of ids is left: remove some", len(others))
		}
	}
	if err := writeNew(filepath.Join(d.tmp, "state.json"), st); err != nil {
		return err
	}
	fail.Point("create.written")
	err = os.Rename(d.tmp, s.dir(d.c.ID))
	fail.Point("create.entered")
	return err
}

// abandoned is how long nobody has touched a directory that is left over.
const abandoned = time.Hour

// sweep removes what was left half made or half removed.
func (s *Store) sweep() {
	entries, _ := os.ReadDir(filepath.Join(s.root, "containers"))
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), ".") && time.Since(info.ModTime()) > abandoned {
			_ = removeData(s.dir(e.Name()), userMaps(false)) // else the next one will
		}
	}
}

// List gives all containers, the oldest first.
func (s *Store) List() ([]*Container, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, "containers"))
	if err != nil {
		return nil, err
	}
	type aged struct {
		c   *Container
		age time.Time
	}
	var all []aged
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		c, err := s.open(e.Name())
		if err != nil {
			continue // being removed, or damaged: Find tells
		}
		st, err := c.stored()
		if err != nil {
			continue
		}
		all = append(all, aged{c, st.Created})
	}
	slices.SortFunc(all, func(a, b aged) int { return a.age.Compare(b.age) })
	out := make([]*Container, 0, len(all))
	for _, a := range all {
		out = append(out, a.c)
	}
	return out, nil
}

func (s *Store) open(id string) (*Container, error) {
	c := &Container{ID: id, store: s}
	return c, readFile(filepath.Join(s.dir(id), "spec.json"), &c.spec)
}

// Find finds a container by its name, its id, or the start of its id.
func (s *Store) Find(ref string) (*Container, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var found []*Container
	var names []string
	for _, c := range all {
		st, err := c.stored()
		if err == nil {
			names = append(names, st.Name)
		}
		if c.ID == ref || err == nil && st.Name == ref {
			return c, nil
		}
		if ref != "" && strings.HasPrefix(c.ID, ref) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if err := s.damaged(ref); err != nil {
			return nil, err
		}
		if near := layer.Nearest(ref, names); near != "" {
			return nil, fmt.Errorf("%w: %s; did you mean %s? plyfs ps -a lists them", ErrNotFound, ref, near)
		}
		return nil, fmt.Errorf("%w: %s; plyfs ps -a lists them", ErrNotFound, ref)
	}
	return nil, fmt.Errorf("%d containers have an id that begins with %s: give more of it", len(found), ref)
}

// Short is the id as people see it.
func (c *Container) Short() string { return c.ID[:12] }

// Dir is the container's directory.
func (c *Container) Dir() string { return c.store.dir(c.ID) }

// Spec is what the container was made with.
func (c *Container) Spec() *Spec { return &c.spec }

// State is what is known of it now.
func (c *Container) State() (*State, error) {
	st, err := c.stored()
	if err == nil {
		st.live()
	}
	return st, err
}

func (c *Container) stored() (*State, error) {
	st := new(State)
	err := readFile(filepath.Join(c.Dir(), "state.json"), st)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %s (it was just removed)", ErrNotFound, c.Short())
	}
	return st, err
}

// lock keeps everybody else from changing the container until it is closed.
func (c *Container) lock() (*os.File, error) {
	l, err := lock(filepath.Join(c.Dir(), "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s (it was just removed)", ErrNotFound, c.Short())
	}
	return l, err
}

// update changes the state under the lock.
func (c *Container) update(change func(*State) error) error {
	l, err := c.lock()
	if err != nil {
		return err
	}
	defer l.Close()
	return c.updateLocked(change)
}

// updateLocked changes the state. Preconditions: the container's lock is held.
func (c *Container) updateLocked(change func(*State) error) error {
	st, err := c.stored()
	if err != nil {
		return err
	}
	if err := change(st); err != nil {
		return err
	}
	return writeFile(filepath.Join(c.Dir(), "state.json"), st)
}

func (c *Container) saveSpec() error { return writeFile(filepath.Join(c.Dir(), "spec.json"), &c.spec) }

// Rename gives a container another name.
func (c *Container) Rename(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	l, err := lock(filepath.Join(c.store.root, "names.lock"))
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := c.store.List()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(o *Container) bool {
		st, err := o.stored()
		return err == nil && st.Name == name && o.ID != c.ID
	}) {
		return fmt.Errorf("the name %s is taken", name)
	}
	return c.update(func(st *State) error {
		st.Name = name
		return nil
	})
}
