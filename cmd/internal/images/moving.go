package images

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

func load(c *call) error {
	file := c.value("", "i", "input")
	if len(c.rest) == 1 && file == "" {
		file = c.rest[0]
	} else if len(c.rest) > 0 {
		return fmt.Errorf("one file is wanted")
	}
	if file == "" {
		if cli.IsTerminal(os.Stdin) {
			return fmt.Errorf("an archive is wanted: give a file, or the standard input")
		}
		file = "-"
	}
	p, err := c.platform()
	if err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	finish := report(s, c.has("q", "quiet"))
	list, err := s.Load(c.ctx, file, "", p)
	finish()
	for _, e := range list {
		fmt.Println("Loaded image: " + shown(e))
	}
	return err
}

// shown is the name of an image, or its id.
func shown(e *image.Entry) string {
	r, err := image.Parse(e.Name)
	if e.Name == "" || err != nil {
		return e.ID
	}
	return r.Familiar() + ":" + r.Tag
}

func save(c *call) (err error) {
	if len(c.rest) == 0 {
		return fmt.Errorf("no image given")
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	out := c.value("", "o", "output")
	switch f := c.value("archive", "format"); f {
	case "archive", "oci-archive", "docker-archive":
	case "oci-dir":
		if out == "" {
			return fmt.Errorf("--format oci-dir: -o names the directory")
		}
		return s.SaveDir(out, c.rest)
	default:
		return fmt.Errorf("unknown format %q: archive and oci-dir are there", f)
	}
	if out == "" || out == "-" {
		if cli.IsTerminal(os.Stdout) {
			return fmt.Errorf("an archive is nothing for a terminal: -o names a file")
		}
		return s.Save(os.Stdout, c.rest)
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(s.Save(f, c.rest), f.Close())
	if err != nil {
		os.Remove(out)
	}
	return err
}

func importVerb(c *call) error {
	s, err := c.shipper()
	if err != nil {
		return err
	}
	o := ship.ImportOptions{Message: c.value("", "m", "message"), Created: epochOr(time.Now())}
	if o.Platform, err = c.platform(); err != nil {
		return err
	}
	boot := c.has("bootstrap")
	args := c.rest
	file := ""
	if !boot {
		if len(args) == 0 {
			return fmt.Errorf("no tarball given; - is the standard input")
		}
		file, args = args[0], args[1:]
	}
	name := ""
	switch len(args) {
	case 0:
		if boot {
			name = "local/tiny"
		}
	case 1:
		name = args[0]
	default:
		return fmt.Errorf("%d arguments are too many", len(c.rest))
	}
	if name != "" {
		r, err := image.Parse(name)
		if err != nil {
			return err
		}
		o.Name = r.String()
	}
	if boot {
		o.Config.Cmd = []string{"sh"}
		o.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	if err := ship.Change(&o.Config, c.values("c", "change")); err != nil {
		return err
	}
	finish := report(s, true)
	defer finish()
	var e *image.Entry
	if boot {
		e, err = s.Bootstrap(c.ctx, o)
	} else {
		e, err = s.Import(c.ctx, file, o)
	}
	if err != nil {
		return err
	}
	fmt.Println(e.ID)
	return nil
}

// epochOr is SOURCE_DATE_EPOCH where that is set.
func epochOr(t time.Time) time.Time {
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(n, 0)
	}
	return t
}

func repair(c *call) error {
	ref, err := c.one("an image")
	if err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	return s.Repair(c.ctx, ref)
}
