// Package plugin registers the snapshotter with a containerd that it is compiled
// into: import it for its side effect, as example does. The mounts are served by
// containerd-plyfs-grpc, which must be installed: containerd's own process can
// be restarted while containers run, and a server of mounts can't.
package plugin

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/moby/sys/userns"

	"github.com/plyfs/plyfs/snapshot"
	"github.com/plyfs/plyfs/snapshot/servers"
)

// ID is the name of the snapshotter.
const ID = "plyfs"

// Config is [plugins."io.containerd.snapshotter.v1.plyfs"].
type Config struct {
	// RootPath holds the layers, StatePath the mount points; empty is a
	// directory of containerd's own.
	RootPath  string `toml:"root_path"`
	StatePath string `toml:"state_path"`
	// Server is the program containerd-plyfs-grpc, by name or path.
	Server string `toml:"server"`
	// MountsPerServer is how many mounts share a server process.
	MountsPerServer int `toml:"mounts_per_server"`
	// MountOptions are mount options for every container.
	MountOptions string `toml:"mount_options"`
}

func init() {
	registry.Register(&plugin.Registration{
		Type:   plugins.SnapshotPlugin,
		ID:     ID,
		Config: &Config{Server: "containerd-plyfs-grpc", MountsPerServer: 64},
		InitFn: start,
	})
}

func start(ic *plugin.InitContext) (any, error) {
	c, ok := ic.Config.(*Config)
	if !ok {
		return nil, errors.New("invalid plyfs configuration")
	}
	root, state := ic.Properties[plugins.PropertyRootDir], ic.Properties[plugins.PropertyStateDir]
	if c.RootPath != "" {
		root = c.RootPath
	}
	if c.StatePath != "" {
		state = c.StatePath
	}
	options, err := snapshot.ParseOptions(c.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("mount_options: %w", err)
	}
	server, err := exec.LookPath(c.Server)
	if err != nil {
		return nil, fmt.Errorf("server: %w: install containerd-plyfs-grpc, or name it: %w", err, plugin.ErrSkipPlugin)
	}
	pool, err := servers.NewPool(servers.Config{
		State: state, MountsPerServer: c.MountsPerServer,
		Program: server, Args: []string{"containerd-plyfs-grpc", "serve-mounts", "--keeper", filepath.Join(state, "s", "keeper")},
		Silent: func(who string) {
			log.G(ic.Context).Warnf("mounts are left to a server that does not answer: if it is stopped, continue or kill it: %s", who)
		},
	})
	if err != nil {
		return nil, err
	}
	inUserNS := userns.RunningInUserNS()
	s, err := snapshot.New(snapshot.Config{Root: root, State: state, Mounter: pool, Options: options, UserNS: inUserNS})
	if err != nil {
		pool.Close()
		return nil, err
	}
	if err := s.Ready(ic.Context); err != nil { // containerd shows it then
		_ = s.Close()
		pool.Close()
		return nil, err
	}
	ic.Meta.Platforms = append(ic.Meta.Platforms, platforms.DefaultSpec())
	ic.Meta.Capabilities = append(ic.Meta.Capabilities, "remap-ids")
	if !inUserNS { // its applier can't write whiteouts there
		ic.Meta.Capabilities = append(ic.Meta.Capabilities, snapshots.RebaseCap)
	}
	ic.Meta.Exports[plugins.SnapshotterRootDir] = root
	return s, nil
}
