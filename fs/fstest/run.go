package fstest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// Run runs every case that the variant can hold. The test that calls it is
// started again as another process where the variant asks for another
// identity, so it must do nothing else.
func Run(t *testing.T, v *Variant) {
	needs(t, v)
	if v.Who != Root && !isChild(v) {
		runAs(t, v)
		return
	}
	base := Base(t)
	cases := pick(v)
	shared := build(t, v, base, cases)
	if err := shared.Up(); err != nil {
		t.Fatal(err)
	}
	down := false
	defer func() {
		if !down {
			if err := shared.Down(); err != nil {
				t.Error(err)
			}
		}
	}()
	shared.before = lowerState(t, shared)
	byFamily(cases, func(family string, cs []*Case) {
		t.Run(family, func(t *testing.T) {
			for _, c := range cs {
				t.Run(c.Name, func(t *testing.T) { runCase(t, v, c, shared) })
			}
		})
	})
	down = true
	aftermath(t, shared)
}

// needs ends the test when the machine lacks what the variant is made of.
func needs(t *testing.T, v *Variant) {
	t.Helper()
	switch {
	case isChild(v):
	case v.Who == Root:
		require.Root(t)
	default:
		require.Root(t) // to become the test user
		require.User(t)
		if v.Who != User {
			require.UserNS(t)
		}
		if v.Who == NSRoot {
			require.SubIDs(t)
		}
		if v.Who == User {
			require.Tool(t, "fusermount3")
		}
	}
	if v.Kind == Overlay {
		require.Overlay(t)
	}
	if v.Kind == Plyfs {
		require.FUSE(t)
		Binary(t)
	}
}

// tempName begins the name of every directory that Base makes.
const tempName = "plyfs-fstest-"

// bases are those that this process made.
var bases = map[string]bool{}

// Base makes a directory that other users may pass, outside t.TempDir, whose
// parents are private. It goes away with the test.
func Base(t testing.TB) string {
	t.Helper()
	base, err := os.MkdirTemp("", tempName)
	if err != nil {
		t.Fatal(err)
	}
	bases[base] = true
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("PLYFS_KEEP") != "" {
			t.Log("kept: " + base)
			return
		}
		if err := removeAll(base); err != nil {
			t.Error(err)
		}
	})
	return base
}

// removeAll is os.RemoveAll for trees that are deeper than PATH_MAX and hold
// directories that their owner can't enter.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			unix.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// pick lists the cases that run on v.
func pick(v *Variant) []*Case {
	want := regexp.MustCompile(os.Getenv("PLYFS_CASE"))
	var out []*Case
	for _, c := range Cases() {
		if want.MatchString(c.Family+"/"+c.Name) && c.refusal(v) == "" {
			out = append(out, c)
		}
	}
	return out
}

// build writes the layers of all cases that share the mount.
func build(t *testing.T, v *Variant, base string, cases []*Case) *Mount {
	t.Helper()
	m, err := NewMount(v, base)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if c.Needs&NeedOwn != 0 {
			continue
		}
		if err := layers(m, c, i); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// layers writes a case's layers into the stack.
func layers(m *Mount, c *Case, spread int) error {
	if len(slug(c)) == 0 {
		return nil
	}
	trees := append([]Tree{c.Lower}, c.Over...)
	for i, t := range stack(trees, len(m.Lowers), spread) {
		if t == nil {
			continue
		}
		dir := filepath.Join(m.Layer(i), slug(c))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := m.v.builder().layer(dir, t); err != nil {
			return err
		}
	}
	return nil
}

func byFamily(cases []*Case, f func(string, []*Case)) {
	for len(cases) > 0 {
		n := 1
		for n < len(cases) && cases[n].Family == cases[0].Family {
			n++
		}
		f(cases[0].Family, cases[:n])
		cases = cases[n:]
	}
}

// runCase runs one case on the shared mount, or on its own.
func runCase(t *testing.T, v *Variant, c *Case, shared *Mount) {
	m := shared
	if c.Needs&NeedOwn != 0 {
		var err error
		if m, err = NewMount(v, Base(t)); err == nil {
			err = layers(m, c, 0)
		}
		if err == nil {
			err = m.Up()
		}
		if err != nil {
			t.Fatal(err)
		}
		m.before = lowerState(t, m)
	}
	umask := unix.Umask(0o022)
	defer unix.Umask(umask)
	e := &Env{
		T: t, Dir: filepath.Join(m.Dir, slug(c)), Name: slug(c),
		Variant: v, Case: c, Mount: m, Union: v.Kind != Plain,
	}
	defer func() {
		e.closeAll()
		if m == shared {
			return
		}
		if !t.Failed() {
			aftermath(t, m)
		} else if err := m.Down(); err != nil {
			t.Error(err)
		}
	}()
	c.Run(t, e)
}
