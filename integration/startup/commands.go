package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// contest is one of the things that are compared. Its name in the table is of
// a group; the ratios are those to the others of the group.
type contest struct {
	name, group string
	args        []string
	sleeping    []string // the same with a payload that stays; nil: memory isn't measured
}

// The groups: on the root of busybox, and on the host's.
const (
	onRoot = "busybox root"
	onHost = "host root"
)

// The names of what plyfs is compared with.
const (
	bwrapRoot  = "bwrap --unshare-all"
	crunSingle = "crun run, one id"
	crunMany   = "crun run, subordinate ids"
	bwrapHost  = "bwrap --ro-bind / /"
)

func (s *stand) commands(binaries []binary) ([]contest, error) {
	list := []contest{
		{bwrapRoot, onRoot, []string{
			"bwrap", "--unshare-all", "--bind", s.root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true",
		}, nil},
		{bwrapHost, onHost, []string{"bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"}, nil},
	}
	for _, name := range []string{crunSingle, crunMany} {
		bundle, err := s.bundle(name == crunMany)
		if err != nil {
			return nil, err
		}
		list = append(list, contest{name, onRoot, []string{"crun", "run", "--bundle", bundle, filepath.Base(bundle)}, nil})
	}
	for _, b := range binaries {
		base := []string{b.path, "run", "--rm", "--net", "none", "--layer", s.root}
		single := []string{b.path, "run", "--rm", "--net", "none", "--userns", "single", "--layer", s.root}
		list = append(
			list,
			contest{b.name + " run --rm", onRoot, append(base, "/bin/true"), append(slices.Clone(base), "/bin/sleep", "0.4")},
			contest{b.name + " run --rm --userns single", onRoot, append(single, "/bin/true"), nil},
			contest{b.name + " try", onHost, []string{b.path, "try", "--", "true"}, []string{b.path, "try", "--", "sleep", "0.4"}},
		)
	}
	return list, nil
}

// bundle makes a bundle for crun as crun itself would, with one id or with those
// that the user has.
func (s *stand) bundle(many bool) (string, error) {
	dir, err := os.MkdirTemp(s.home, "crun")
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, s.uid, s.gid); err != nil {
		return "", err
	}
	cmd := s.command([]string{"crun", "spec", "--rootless"})
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("crun spec: %w: %s", err, out)
	}
	file := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", err
	}
	spec["root"] = map[string]any{"path": s.root, "readonly": false}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/true"}
	if many {
		linux := spec["linux"].(map[string]any)
		for kind, id := range map[string]int{"uid": s.uid, "gid": s.gid} {
			first, count, err := subordinate("/etc/sub"+kind, s.uid)
			if err != nil {
				return "", err
			}
			linux[kind+"Mappings"] = []map[string]int{
				{"containerID": 0, "hostID": id, "size": 1}, {"containerID": 1, "hostID": first, "size": count},
			}
		}
	}
	if text, err = json.Marshal(spec); err != nil {
		return "", err
	}
	return dir, os.WriteFile(file, text, 0o644)
}
