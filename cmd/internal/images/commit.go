package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

// committing says to the process that is root of the container's ids that the
// container is still.
const committing = "_PLYFS_COMMITTING"

func commit(c *call) (err error) {
	if len(c.rest) < 1 || len(c.rest) > 2 {
		return fmt.Errorf("a container, and perhaps a name, are wanted")
	}
	o := ship.CommitOptions{
		Author: c.value("", "a", "author"), Message: c.value("", "m", "message"),
		Changes: c.values("c", "change"), Created: epochOr(time.Now()),
	}
	if os.Getenv("SOURCE_DATE_EPOCH") != "" {
		o.Epoch = &o.Created
	}
	if len(c.rest) == 2 {
		r, err := image.Parse(c.rest[1])
		if err != nil {
			return err
		}
		o.Name = r.String()
	}
	store, err := container.OpenStore(c.root)
	if err != nil {
		return err
	}
	ct, err := store.Find(c.rest[0])
	if err != nil {
		return err
	}
	spec := ct.Spec()
	if spec.ImageDigest == "" {
		return fmt.Errorf("%s was not made of an image: --to-host puts a sandbox's changes on the host, plyfs import makes an image of a tarball", c.rest[0])
	}
	o.Base, o.Virtual, o.Made = spec.ImageDigest, spec.IDs.Virtual, ct.Made()
	o.Upper, o.Work = filepath.Join(ct.Dir(), "upper"), filepath.Join(ct.Dir(), "work")
	if os.Getenv(committing) == "" {
		resume, err := still(ct, !c.has("no-pause"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, resume()) }()
		os.Setenv(committing, "1")
		if code, again, err := enterRoot(c); err != nil || again {
			if err == nil && code != 0 {
				err = cli.Silent(code)
			}
			return err
		}
	}
	s, err := c.shipper()
	if err != nil {
		return err
	}
	e, err := s.Commit(c.ctx, &o)
	if err != nil {
		return err
	}
	fmt.Println(e.ID)
	return nil
}

// still has a running container write what it has in memory, and stops it.
func still(ct *container.Container, pause bool) (resume func() error, err error) {
	nothing := func() error { return nil }
	st, err := ct.State()
	if err != nil || st.Status != container.Running {
		return nothing, err
	}
	if err := ct.Sync(); err != nil {
		return nil, fmt.Errorf("container %s could not be synced: %w; stop it first", st.Name, err)
	}
	if !pause {
		return nothing, nil
	}
	if err := ct.Pause(true); err != nil {
		return nil, fmt.Errorf("%w; --no-pause commits it as it goes on", err)
	}
	return func() error { return ct.Pause(false) }, nil
}
