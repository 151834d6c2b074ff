package union

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
	"golang.org/x/sys/unix"
)

// linksModel plays by chance on lower files with several names, some of them in two
// layers (cp -al), and knows what there has to be: hard links as on any
// file system.
type linksModel struct {
	*env
	rnd   *rand.Rand
	names map[string]*linked
	held  map[node.ID]*linked // what the client knows
	did   []string
}

// linked is one file.
type linked struct {
	content string
	names   int
	loose   bool // a remount forgot that a lower name was removed: the count may be too high
	lower   bool
}

var (
	modelDirs  = []string{"", "d/", "e/", "d/s/"}
	modelNames = []string{"a", "b", "c", "f"}
)

func TestLinksModel(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 10
	}
	for seed := range runs {
		ok := t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			m := &linksModel{env: newEnv(t, 2), rnd: rand.New(rand.NewPCG(uint64(seed), 0))}
			m.play()
		})
		if !ok {
			return
		}
	}
}

func (m *linksModel) play() {
	m.o.Fsync, m.o.NoMarker = layer.FsyncVolatile, true
	if m.rnd.IntN(2) == 0 {
		m.o.Redirect = layer.RedirectOn
	}
	m.names, m.held = map[string]*linked{}, map[node.ID]*linked{}
	m.layers()
	m.open()
	defer func() {
		if m.Failed() {
			m.Log(strings.Join(m.did, "\n"))
		}
	}()
	for range 40 {
		m.step()
		if m.check(); m.Failed() {
			return
		}
	}
	m.workEmptyAtEnd()
}

// layers makes files with one, two or three names, in either layer.
func (m *linksModel) layers() {
	for _, l := range []string{"lower1/", "lower2/"} {
		for _, d := range modelDirs {
			m.mkdir(l + d)
		}
	}
	var paths []string
	for _, d := range modelDirs {
		for _, n := range modelNames[:3] {
			paths = append(paths, d+n)
		}
	}
	m.rnd.Shuffle(len(paths), func(i, k int) { paths[i], paths[k] = paths[k], paths[i] })
	for len(paths) > 3 {
		f := &linked{content: "file " + paths[0], names: 1 + m.rnd.IntN(3), lower: true}
		first := ""
		for i, p := range paths[:f.names] {
			full := fmt.Sprintf("lower%d/%s", 1+m.rnd.IntN(2), p)
			if i == 0 {
				m.file(full, f.content)
				first = full
			} else {
				link(m.TB, m.path(first), m.path(full))
			}
			m.names[p] = f
		}
		paths = paths[f.names:]
	}
}

// pick is a name that there is, fresh one that may be.
func (m *linksModel) pick() string {
	var all []string
	for n := range m.names {
		all = append(all, n)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return m.fresh()
	}
	return all[m.rnd.IntN(len(all))]
}

func (m *linksModel) fresh() string {
	return modelDirs[m.rnd.IntN(len(modelDirs))] + modelNames[m.rnd.IntN(len(modelNames))]
}

// id looks a name up, and remembers which file the node has to be.
func (m *linksModel) id(p string) node.ID {
	en, e := m.c.try(p)
	if e != 0 {
		m.Fatalf("%s: %v\n%s", p, e, strings.Join(m.did, "\n"))
	}
	m.held[en.Node] = m.names[p]
	return en.Node
}

func (m *linksModel) step() {
	a, b := m.pick(), m.fresh()
	if m.rnd.IntN(2) == 0 {
		b = m.pick()
	}
	f, g := m.names[a], m.names[b]
	if f == nil {
		return
	}
	what := m.rnd.IntN(20)
	m.did = append(m.did, fmt.Sprintf("%d %s %s", what, a, b))
	switch {
	case what < 4: // unlink
		if m.rnd.IntN(2) == 0 {
			m.id(a)
		}
		m.c.unlink(a)
		m.drop(a)
	case what < 8: // rename
		m.id(a)
		if g != nil && m.rnd.IntN(2) == 0 {
			m.id(b)
		}
		m.c.rename(a, b)
		if f != g {
			m.drop(b)
			m.names[b] = f
			delete(m.names, a)
		}
	case what < 10 && g != nil: // exchange
		m.id(a)
		m.id(b)
		if e := m.c.renameErr(a, b, unix.RENAME_EXCHANGE); e != 0 {
			m.Fatalf("exchange: %v", e)
		}
		m.names[a], m.names[b] = g, f
	case what < 12 && g == nil: // link
		m.c.link(m.id(a), b)
		m.names[b] = f
		f.names++
		f.lower = false
	case what < 15: // write
		id := m.id(a)
		f.content = fmt.Sprintf("%02d", m.rnd.IntN(100)) + f.content[2:]
		m.c.write(id, f.content[:2], 0)
		f.lower = false
	case what < 17: // chmod, of metadata only
		var at Attr
		m.c.check("chmod", m.fs.SetAttr(caller, m.id(a), &AttrChange{Valid: SetMode, Mode: 0o600}, &at))
		f.lower = false
	case what < 19:
		m.c.forgetAll()
		clear(m.held)
	default:
		m.reopen()
		clear(m.held)
		for _, f := range m.names {
			f.loose = f.loose || f.lower
		}
	}
}

// drop takes a name away from its file.
func (m *linksModel) drop(p string) {
	if f := m.names[p]; f != nil {
		f.names--
		delete(m.names, p)
	}
}

// check looks at some names, and at all that is held.
func (m *linksModel) check() {
	m.Helper()
	for p, f := range m.names {
		if m.rnd.IntN(3) == 0 {
			continue
		}
		id := m.id(p)
		if s := m.c.read(id); s != f.content {
			m.Errorf("%s reads as %q, want %q", p, s, f.content)
		}
	}
	ids := map[*linked]node.ID{}
	for id, f := range m.held {
		if other, ok := ids[f]; ok && other != id {
			m.Errorf("%q is two nodes", f.content)
		}
		ids[f] = id
		n := int(m.c.attr(id).Nlink)
		if n != f.names && (!f.loose || n < f.names) {
			m.Errorf("%q has link count %d and %d names", f.content, n, f.names)
		}
		if s := m.c.read(id); s != f.content {
			m.Errorf("node %x reads as %q, want %q", id, s, f.content)
		}
	}
	for _, d := range modelDirs {
		for _, n := range modelNames {
			if _, e := m.c.try(d + n); m.names[d+n] == nil && e != unix.ENOENT {
				m.Errorf("%s is there: %v", d+n, e)
			}
		}
	}
}

// workEmptyAtEnd removes everything: nothing of it stays anywhere.
func (m *linksModel) workEmptyAtEnd() {
	for p := range m.names {
		m.c.unlink(p)
	}
	m.c.forgetAll()
	m.close()
	m.workEmpty()
	for _, p := range m.onDisk("upper") {
		if full := m.path("upper/" + p); !isWhiteout(full) && path.Base(p) != "d" && path.Base(p) != "e" && path.Base(p) != "s" {
			m.Errorf("left in the upper: %s", p)
		}
	}
}
