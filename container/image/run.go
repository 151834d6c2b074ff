package image

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config is what an image says about running it. The names are those of the
// image specification.
type Config struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Volumes      map[string]struct{}
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string
}

// Runnable is an image that is ready to be a root.
type Runnable struct {
	Entry
	Config Config
	Dirs   []string // the trees of its layers, the top first
}

// IncompleteError says that an image is listed and a part of it isn't there.
type IncompleteError struct{ Name, Missing string }

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("image %s is damaged: %s is missing; plyfs pull gets it again", e.Name, e.Missing)
}

// Runnable finds an image and looks that its layers are there. The caller holds
// [Store.Use] until something of its own names the layers.
func (s *Store) Runnable(ref string) (*Runnable, error) {
	e, err := s.Find(ref)
	if err != nil {
		return nil, err
	}
	if e.Boot != "" && e.Boot != BootID() {
		return nil, &IncompleteError{ref, "what the machine may have lost when it went down"}
	}
	r := &Runnable{Entry: *e}
	blob, err := s.Blob(e.ID)
	if err != nil {
		return nil, err
	}
	var c struct{ Config Config }
	if err := readJSON(blob, &c); err != nil {
		return nil, &IncompleteError{ref, blob}
	}
	r.Config = c.Config
	for _, chain := range slices.Backward(e.Layers) {
		dir, err := s.Layer(chain)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(dir, "info.json")); err != nil {
			return nil, &IncompleteError{ref, dir}
		}
		r.Dirs = append(r.Dirs, filepath.Join(dir, "fs"))
	}
	return r, nil
}

// Command is what an image runs when these are the arguments; entrypoint, when
// it is given, takes the place of the image's.
func (c *Config) Command(entrypoint *string, args []string) []string {
	head := c.Entrypoint
	if entrypoint != nil {
		head = nil
		if *entrypoint != "" {
			head = []string{*entrypoint}
		}
	} else if len(args) == 0 {
		args = c.Cmd
	}
	return append(slices.Clone(head), args...)
}

// Environment is the image's with what is set for the container put over it.
func (c *Config) Environment(set []string) []string {
	var out []string
	for _, kv := range c.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(set, func(o string) bool { return strings.HasPrefix(o, name+"=") }) {
			out = append(out, kv)
		}
	}
	return append(out, set...)
}
