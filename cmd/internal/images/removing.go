package images

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/imageverbs"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

func rmi(c *call) error {
	if len(c.rest) == 0 {
		return fmt.Errorf("no image given")
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	r, err := s.Remove(c.rest, c.has("f", "force"))
	tellRemoved(&r)
	return err
}

func tellRemoved(r *ship.Removed) {
	for _, n := range r.Untagged {
		done("Untagged: " + n)
	}
	for _, id := range r.Deleted {
		done("Deleted: " + id)
	}
	if r.Busy {
		fmt.Fprintln(os.Stderr, "plyfs: the store is in use: the space is given back by the next plyfs rmi or image prune")
	}
}

func tag(c *call) error {
	if len(c.rest) < 2 {
		return fmt.Errorf("an image and a name are wanted")
	}
	s := image.Open(c.root)
	for _, name := range c.rest[1:] {
		r, err := image.Parse(name)
		if err != nil {
			return err
		}
		if r.Digest != "" {
			return fmt.Errorf("%s: a digest can't be given to an image", name)
		}
		e, err := s.Find(c.rest[0])
		if err != nil {
			return err
		}
		e.Name = r.String()
		if err := s.Update(func(list []image.Entry) ([]image.Entry, error) { return image.Put(list, *e), nil }); err != nil {
			return err
		}
	}
	return nil
}

func prune(c *call) error {
	if len(c.rest) > 0 {
		return fmt.Errorf("prune takes no argument; %q was given", c.rest[0])
	}
	what := "images without a name"
	if c.has("a", "all") {
		what = "all images that no container uses"
	}
	if err := confirm(c, "This deletes "+what+"."); err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	r, err := s.Prune(c.has("a", "all"))
	tellRemoved(&r)
	done("Space given back: " + humanSize(r.Bytes))
	return err
}

// confirm asks on a terminal.
func confirm(c *call, what string) error {
	if c.has("f", "force") {
		return nil
	}
	if !cli.IsTerminal(os.Stdin) {
		return fmt.Errorf("%s Nobody can be asked: give -f", what)
	}
	fmt.Fprintf(os.Stderr, "%s Go on? [y/N] ", what)
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return fmt.Errorf("nothing was deleted")
	}
	return nil
}

func system(c *call) error {
	return family(c, map[string]string{"df": "df", "prune": "prune-all", "check": "check"}, imageverbs.Of("system").Usage)
}

// tryLabel is on sandboxes (plyfs try).
const tryLabel = "plyfs.try"

// pruneAll deletes the containers that have ended, and then what prune deletes.
// Sandboxes stay: what is in them is somebody's work.
func pruneAll(c *call) error {
	if len(c.rest) > 0 {
		return fmt.Errorf("prune takes no argument; %q was given", c.rest[0])
	}
	what := "containers that have ended, and images without a name"
	if c.has("a", "all") {
		what = "containers that have ended, and all images that no other container uses"
	}
	if err := confirm(c, "This deletes "+what+"."); err != nil {
		return err
	}
	store, err := container.OpenStore(c.root)
	if err != nil {
		return err
	}
	all, err := store.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, ct := range all {
		st, err := ct.State()
		if errors.Is(err, container.ErrNotFound) || err == nil && (st.Status != container.Exited || ct.Spec().Labels[tryLabel] != "") {
			continue
		}
		if err == nil {
			err = ct.Remove(false)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Println("Removed: " + st.Name)
	}
	args := []string{"-f"}
	if c.has("a", "all") {
		args = append(args, "-a")
	}
	os.Setenv("PLYFS_ROOT", c.root)
	return errors.Join(append(errs, start("prune", args))...)
}

type dfLine struct {
	Type        string
	Count       int
	Size        string
	Reclaimable string
}

func df(c *call) error {
	s, err := c.shipper()
	if err != nil {
		return err
	}
	u, err := s.Usage()
	if err != nil {
		return err
	}
	return cli.PrintList(os.Stdout, c.value("table", "format"), "table {{.Type}}\t{{.Count}}\t{{.Size}}\t{{.Reclaimable}}", nil, []dfLine{
		{"Images", u.Images, humanSize(u.Blobs), humanSize(u.FreeBlobs)},
		{"Layers", u.Layers, humanSize(u.Unpacked), humanSize(u.FreeUp)},
	})
}

func check(c *call) error {
	s, err := c.shipper()
	if err != nil {
		return err
	}
	faults, err := s.Check(c.has("repair"))
	if err != nil {
		return err
	}
	for _, f := range faults {
		what := f.What
		if f.Removed {
			what += " (deleted)"
		}
		fmt.Printf("%s: %s\n", f.Image, what)
	}
	if n := len(faults); n > 0 {
		return fmt.Errorf("%d faults; plyfs system check --repair deletes what is damaged, and plyfs pull or load gets it again", n)
	}
	return nil
}

// done says what was done, unless -q was given.
func done(text string) {
	if !cli.Quiet() {
		fmt.Println(text)
	}
}
