package snapshot

import (
	"fmt"
	"path/filepath"
)

// paths is the only place that knows where things are.
type paths struct{ root, state string }

func newPaths(root, state string) (paths, error) {
	r, err := filepath.Abs(root)
	if err != nil {
		return paths{}, fmt.Errorf("root directory %s: %w", root, err)
	}
	s, err := filepath.Abs(state)
	if err != nil {
		return paths{}, fmt.Errorf("state directory %s: %w", state, err)
	}
	return paths{r, s}, nil
}

func (p paths) lock() string                { return filepath.Join(p.root, "lock") }
func (p paths) database() string            { return filepath.Join(p.root, "metadata.db") }
func (p paths) empty() string               { return filepath.Join(p.root, "empty") }
func (p paths) snapshots() string           { return filepath.Join(p.root, "snapshots") }
func (p paths) snapshot(id string) string   { return filepath.Join(p.snapshots(), id) }
func (p paths) layer(id string) string      { return filepath.Join(p.snapshots(), id, "fs") }
func (p paths) work(id string) string       { return filepath.Join(p.snapshots(), id, "work") }
func (p paths) usage(id string) string      { return filepath.Join(p.snapshots(), id, "usage") }
func (p paths) index(id string) string      { return filepath.Join(p.snapshots(), id, "index") }
func (p paths) trash() string               { return filepath.Join(p.root, "trash") }
func (p paths) trashed(id string) string    { return filepath.Join(p.trash(), id) }
func (p paths) mountPoints() string         { return filepath.Join(p.state, "m") }
func (p paths) mountPoint(id string) string { return filepath.Join(p.mountPoints(), id) }
func (p paths) layers(ids []string) []string {
	dirs := make([]string, len(ids))
	for i, id := range ids {
		dirs[i] = p.layer(id)
	}
	return dirs
}
