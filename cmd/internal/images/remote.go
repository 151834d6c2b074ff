package images

import (
	"fmt"
	"os"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

func pull(c *call) error {
	text, err := c.one("an image")
	if err != nil {
		return err
	}
	ref, err := image.Parse(text)
	if err != nil {
		return err
	}
	p, err := c.platform()
	if err != nil {
		return err
	}
	r, err := remotes()
	if err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	finish := report(s, c.has("q", "quiet"))
	e, err := s.Pull(c.ctx, r, ref, p)
	finish()
	if c.ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "plyfs: stopped; the next pull of it goes on from here")
		return cli.Silent(130)
	}
	if err != nil {
		return err
	}
	fmt.Println(e.ID)
	return nil
}

// remotes reads the configuration of registries.
func remotes() (*ship.Remote, error) {
	cfg, err := cli.LoadConfig()
	if err != nil {
		return nil, err
	}
	r := &ship.Remote{Registries: map[string]ship.Registry{}}
	for host, c := range cfg.Registry {
		r.Registries[host] = ship.Registry{Mirrors: c.Mirrors, Insecure: c.Insecure}
	}
	return r, nil
}

func push(c *call) error {
	if len(c.rest) < 1 || len(c.rest) > 2 {
		return fmt.Errorf("an image, and perhaps a name, are wanted")
	}
	to, err := image.Parse(c.rest[len(c.rest)-1])
	if err != nil {
		return err
	}
	r, err := remotes()
	if err != nil {
		return err
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	digest, err := s.Push(c.ctx, r, c.rest[0], to)
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}
