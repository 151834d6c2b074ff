package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image"
)

// The values of --pull.
const (
	pullMissing = "missing"
	pullAlways  = "always"
	pullNever   = "never"
)

func setPull(r *runRequest, v string) error {
	if v != pullMissing && v != pullAlways && v != pullNever {
		return fmt.Errorf("%q is none of missing, always, never", v)
	}
	r.pull = v
	return nil
}

// finishImage makes an image the root of the container, and its configuration
// what the flags say nothing of. The result is the command. Until the store is
// let go of (r.using), nothing of the image is deleted.
func (r *runRequest) finishImage(root string, args []string) (command []string, err error) {
	ref, args := args[0], args[1:]
	store := image.Open(root)
	img, err := r.findImage(store, ref)
	if err != nil {
		return nil, err
	}
	s := &r.spec
	s.Image, s.ImageDigest = ref, img.Digest
	r.layers = img.Dirs
	r.imageIDs(img.Virtual)
	c := &img.Config
	s.Process.Env = c.Environment(s.Process.Env)
	if s.Process.User == "" {
		s.Process.User = c.User
	}
	if s.Process.Cwd == "" {
		s.Process.Cwd = c.WorkingDir
	}
	if s.StopSignal == "" {
		s.StopSignal = c.StopSignal
	}
	if err := r.imageVolumes(c); err != nil {
		return nil, err
	}
	for k, v := range c.Labels {
		if _, ok := s.Labels[k]; !ok {
			_ = addLabel(r, k+"="+v)
		}
	}
	var entrypoint *string
	if r.hasEntrypoint {
		entrypoint = &r.entrypoint
	}
	command = c.Command(entrypoint, args)
	if len(command) == 0 {
		return nil, fmt.Errorf("image %s has no command of its own: give one", ref)
	}
	return command, nil
}

// imageIDs has owners kept as data where the user has one id for all of them:
// what an image belongs to, and what its programs do about it, is remembered.
func (r *runRequest) imageIDs(virtual bool) {
	s := &r.spec
	if r.idsGiven || os.Geteuid() == 0 {
		return
	}
	one := s.IDs.Single || container.SingleID()
	s.IDs.Virtual = virtual || one
	if one && !s.Process.NewPrivs {
		s.IDs.Single, s.Init, s.Process.Notify = true, true, true
	}
}

// imageVolumes gives the container a fresh directory for each volume of the
// image that no -v or --tmpfs is for. It has what the image has there, and goes
// with the container: it is a part of its upper.
func (r *runRequest) imageVolumes(c *image.Config) error {
	for v := range c.Volumes {
		if !path.IsAbs(v) {
			return fmt.Errorf("volume %q of the image is no absolute path", v)
		}
	}
	if !r.spec.Root.ReadOnly {
		return nil
	}
	for v := range c.Volumes {
		mounted := func(m container.Mount) bool { return path.Clean(m.Target) == path.Clean(v) }
		if !slices.ContainsFunc(r.spec.Mounts, mounted) {
			r.spec.Mounts = append(r.spec.Mounts, container.Mount{Type: "tmpfs", Target: path.Clean(v), Mode: 0o755})
		}
	}
	return nil
}

// findImage finds an image, and pulls it as --pull says.
func (r *runRequest) findImage(store *image.Store, ref string) (*image.Runnable, error) {
	if r.pull == pullAlways {
		if err := callHelper("pull", "--root", store.Root(), ref); err != nil {
			return nil, err
		}
	}
	for try := 0; ; try++ {
		img, err := r.lockedImage(store, ref)
		var incomplete *image.IncompleteError
		switch {
		case err == nil:
			return img, nil
		case try > 0:
			return nil, err
		case errors.Is(err, image.ErrNotFound) && r.pull != pullNever:
			err = callHelper("pull", "--root", store.Root(), ref)
		case errors.As(err, &incomplete):
			if err = callHelper("repair", "--root", store.Root(), ref); err != nil && r.pull != pullNever {
				err = callHelper("pull", "--root", store.Root(), ref)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *runRequest) lockedImage(store *image.Store, ref string) (*image.Runnable, error) {
	using, err := store.Use()
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s; plyfs pull %[2]s gets it", image.ErrNotFound, ref)
	}
	if err != nil {
		return nil, err
	}
	img, err := store.Runnable(ref)
	if err != nil {
		using.Close()
		return nil, err
	}
	r.using = using
	return img, nil
}

// isImage says whether the first argument is an image: no other root is given.
func (r *runRequest) isImage(args []string) bool {
	return len(r.layers) == 0 && r.spec.Root.Dir == "" && len(args) > 0 && !strings.HasPrefix(args[0], "/")
}
