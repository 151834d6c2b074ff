package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/explore"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image/look"
	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/layer"
)

// exploring says to the process that is root of the user's ids that a running
// container has written what it had in memory.
const exploring = "_PLYFS_EXPLORING"

func exploreVerb(c *call) error {
	ref, err := c.one("an image, a container, a sandbox, or a directory or archive of an image")
	if err != nil {
		return err
	}
	rules, err := c.rules()
	if err != nil {
		return err
	}
	ci := rules != nil
	if !ci && (!cli.IsTerminal(os.Stdin) || !cli.IsTerminal(os.Stdout)) {
		return fmt.Errorf("explore needs a terminal: --ci judges an image without one, and plyfs tree prints what its layers do")
	}
	var ct *container.Container
	if !isPath(ref) {
		store, err := container.OpenStore(c.root)
		if err == nil {
			ct, err = store.Find(ref)
		}
		if err != nil && !errors.Is(err, container.ErrNotFound) {
			return err
		}
	}
	if os.Getenv(exploring) == "" {
		if ct != nil {
			if _, err := still(ct, false); err != nil {
				fmt.Fprintf(os.Stderr, "plyfs: %v: what was written last may be missing\n", err)
			}
		}
		os.Setenv(exploring, "1")
		if code, again, err := enterRoot(c); err != nil || again {
			if err == nil && code != 0 {
				err = cli.Silent(code)
			}
			return err
		}
	}
	src, done, err := c.source(ref, ct)
	if err != nil {
		return err
	}
	defer done()
	if !ci {
		return explore.Run(c.ctx, src)
	}
	st, err := src()
	if err != nil {
		return err
	}
	w := st.Waste()
	if !rules.Judge(os.Stdout, &w) {
		return cli.Silent(cli.ExitFailure)
	}
	return nil
}

// rules are those to judge by; nil when nothing is to be judged.
func (c *call) rules() (explore.Rules, error) {
	given := map[string]string{}
	for _, n := range []string{"lowestEfficiency", "highestWastedBytes", "highestUserWastedPercent"} {
		if c.has(n) {
			given[n] = c.value("", n)
		}
	}
	switch os.Getenv("CI") { // dive's way
	case "true", "1", "yes":
	default:
		if !c.has("ci", "ci-config") && len(given) == 0 {
			return nil, nil
		}
	}
	r, err := explore.ReadRules(c.value(".dive-ci", "ci-config"), c.has("ci-config"))
	if err != nil {
		return nil, err
	}
	for n, v := range given {
		if err := r.Set(n, v); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// isPath says that a word can be nothing else.
func isPath(ref string) bool {
	return filepath.IsAbs(ref) || ref == "." || ref == ".." || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../")
}

// source finds what is to be explored. done is for when it was.
func (c *call) source(ref string, ct *container.Container) (src explore.Source, done func(), err error) {
	s, err := c.shipper()
	if err != nil {
		return nil, nil, err
	}
	use, err := s.Store.Use() // the layers stay
	if err != nil {
		return nil, nil, err
	}
	done = func() { use.Close() }
	if ct != nil {
		return func() (*look.Stack, error) {
			_, _ = still(ct, false) // from a user namespace it can't be: then what the kernel has written is seen
			return containerStack(s, ct)
		}, done, nil
	}
	if !isPath(ref) {
		e, err := s.Store.Find(ref)
		if err == nil {
			return func() (*look.Stack, error) { return s.Look(e) }, done, nil
		}
		if _, e := os.Stat(ref); e != nil {
			done()
			return nil, nil, fmt.Errorf("no container, no image and no file is called %s; plyfs ps -a and plyfs images list what there is", ref)
		}
	}
	p, err := c.platform()
	var held io.Closer
	var st *look.Stack
	if err == nil {
		st, held, err = s.LookArchive(c.ctx, ref, c.value("", "name"), p)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return func() (*look.Stack, error) { return st, nil }, func() { held.Close(); use.Close() }, nil
}

// containerStack reads the layers of a container, and over them what it has
// changed. Of the host below a sandbox, that is read which has the same names.
func containerStack(s *ship.Shipper, ct *container.Container) (*look.Stack, error) {
	state, err := ct.State()
	if err != nil {
		return nil, err
	}
	spec := ct.Spec()
	if spec.Root.FS == "" {
		return nil, fmt.Errorf("the root of container %s is the directory %s itself (--rootfs): it has no layers", state.Name, spec.Root.Dir)
	}
	o, _, err := layer.Parse([]string{spec.Root.FS}, true)
	if err != nil {
		return nil, err
	}
	upper := o.Upper
	if upper == "" {
		upper = filepath.Join(ct.Dir(), "upper")
	}
	made := map[string]bool{}
	for _, m := range ct.Made() {
		made[m] = true
	}
	top, err := look.Dir(state.Name, upper, func(p string, empty bool) bool { return made[p] && empty })
	if err != nil {
		return nil, err
	}
	top.Command = strings.Join(spec.Process.Args, " ")
	st := &look.Stack{Name: state.Name + " (" + spec.Image + ")"}
	if spec.ImageDigest != "" {
		if list, err := s.Store.List(); err == nil {
			for i := range list {
				if list[i].Digest == spec.ImageDigest {
					below, err := s.Look(&list[i])
					if err != nil {
						return nil, err
					}
					st.Layers = append(below.Layers, top)
					return st, nil
				}
			}
		}
	}
	for i := len(o.Lower) - 1; i >= 0; i-- {
		dir := strings.Replace(o.Lower[i], "{dir}", ct.Dir(), 1)
		if dir == "/" || i < len(o.Lower)-1 && o.Lower[len(o.Lower)-1] == "/" {
			if dir == "/" {
				st.Name = state.Name
				st.Layers = append(st.Layers, look.Host("host", dir, &top))
			}
			continue
		}
		l, err := look.Dir(filepath.Base(dir), dir, nil)
		if err != nil {
			return nil, err
		}
		st.Layers = append(st.Layers, l)
	}
	st.Layers = append(st.Layers, top)
	return st, nil
}
