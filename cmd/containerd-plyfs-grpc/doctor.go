package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/plyfs/plyfs/cmd/internal/cli"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

// doctor checks one machine.
type doctor struct {
	c       *config
	ctx     context.Context
	missing int
}

func (d *doctor) ok(format string, a ...any) { fmt.Printf("ok       %s\n", fmt.Sprintf(format, a...)) }

// bad tells what is missing, and how to get it.
func (d *doctor) bad(format string, a ...any) {
	d.missing++
	fmt.Printf("MISSING  %s\n", fmt.Sprintf(format, a...))
}

// doctorVerb says what a containerd that runs lacks for using us.
func doctorVerb(args []string) error {
	c, rest, done, err := readFlags(args)
	if done || err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("doctor takes flags only, not %q", rest)
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.Background(), "default"), 10*time.Second)
	defer cancel()
	d := &doctor{c: &c, ctx: ctx}
	d.fuse()
	d.daemon()
	d.containerd()
	if d.missing > 0 {
		return cli.Silent(cli.ExitFailure)
	}
	return nil
}

func (d *doctor) fuse() {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		d.bad("/dev/fuse can't be opened: %v; load the module with `modprobe fuse`", err)
		return
	}
	_ = f.Close()
	d.ok("/dev/fuse can be opened")
}

func dialUnix(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// daemon looks whether our own daemon answers.
func (d *doctor) daemon() {
	conn, err := dialUnix(d.c.Address)
	if err == nil {
		defer conn.Close()
		_, err = healthapi.NewHealthClient(conn).Check(d.ctx, &healthapi.HealthCheckRequest{})
	}
	if err != nil {
		d.bad("the daemon does not answer on %s: %v; start it with `systemctl start plyfs-snapshotter`, or give --address", d.c.Address, short(err))
		return
	}
	d.ok("the daemon answers on %s", d.c.Address)
	if fi, err := os.Stat(filepath.Join(d.c.Root, "metadata.db")); err != nil || fi.IsDir() {
		d.bad("%s holds no snapshots: the daemon uses another root; give --root, or the configuration that it has", d.c.Root)
	} else {
		d.ok("snapshots are in %s", d.c.Root)
	}
}

// containerd looks how the one that runs is configured, by what its plugins
// say of themselves.
func (d *doctor) containerd() {
	conn, err := dialContainerd(d.c)
	var v *versionapi.VersionResponse
	if err == nil {
		defer conn.Close()
		v, err = versionapi.NewVersionClient(conn).Version(d.ctx, &emptypb.Empty{})
	}
	if err != nil {
		d.bad("containerd does not answer on %s: %v; give --containerd", d.c.Containerd.Address, short(err))
		return
	}
	version, _ := parseVersion(v.Version)
	d.ok("containerd %s answers on %s", v.Version, d.c.Containerd.Address)
	plugins, err := introspectionapi.NewIntrospectionClient(conn).Plugins(d.ctx, &introspectionapi.PluginsRequest{})
	if err != nil {
		d.bad("containerd does not tell its plugins: %v", short(err))
		return
	}
	find := func(typ, id string) *introspectionapi.Plugin {
		i := slices.IndexFunc(plugins.Plugins, func(p *introspectionapi.Plugin) bool { return p.Type == typ && p.ID == id })
		if i < 0 {
			return nil
		}
		return plugins.Plugins[i]
	}
	p := find("io.containerd.snapshotter.v1", pluginName)
	hint := fmt.Sprintf("put what `%s config containerd` prints into containerd's configuration, and restart it", program)
	if p == nil {
		d.bad("containerd has no snapshotter %q: %s", pluginName, hint)
		return
	}
	if p.InitErr != nil && p.InitErr.Code != 0 {
		d.bad("containerd's snapshotter %q failed: %s", pluginName, p.InitErr.Message)
		return
	}
	d.ok("containerd has the snapshotter %q", pluginName)
	d.sameSocket(p.Exports["address"], hint)
	if !version.modern() {
		return // older ones don't tell more
	}
	for _, cap := range capabilities(version) {
		if slices.Contains(p.Capabilities, cap) {
			d.ok("containerd knows of the capability %s", cap)
		} else {
			d.bad("containerd doesn't know of the capability %s: %s", cap, hint)
		}
	}
	d.sameRoot(p.Exports["root"], hint)
	if differ := pluginName + "-diff"; find("io.containerd.differ.v1", differ) != nil {
		d.ok("containerd has the differ %q", differ)
	} else {
		d.bad("containerd has no differ %q, so that diffs walk whole images: %s", differ, hint)
	}
}

// sameSocket compares where containerd calls with where the daemon listens: a
// call through containerd would tell less, since containerd's own metadata
// answers whatever doesn't change anything.
func (d *doctor) sameSocket(address, hint string) {
	address = strings.TrimPrefix(address, "unix://")
	a, errA := os.Stat(address)
	b, errB := os.Stat(d.c.Address)
	switch {
	case errA != nil:
		d.bad("containerd calls %s for the snapshotter, where nothing is: %s", address, hint)
	case errB == nil && os.SameFile(a, b):
		d.ok("containerd calls %s for the snapshotter", address)
	default:
		d.bad("containerd calls %s for the snapshotter and the daemon listens on %s: %s", address, d.c.Address, hint)
	}
}

// sameRoot compares what kubelet is told to watch with where the layers are.
func (d *doctor) sameRoot(root, hint string) {
	if root == "" {
		d.bad("containerd exports no root for the snapshotter, so kubelet watches another directory: %s", hint)
		return
	}
	var a, b syscall.Stat_t
	if errors.Join(syscall.Stat(root, &a), syscall.Stat(d.c.Root, &b)) != nil || a.Dev != b.Dev || a.Ino != b.Ino {
		d.bad("containerd exports the root %s and the daemon uses %s: kubelet watches the wrong filesystem: %s", root, d.c.Root, hint)
		return
	}
	d.ok("kubelet is told to watch %s", root)
}

// short is the last part of a gRPC error.
func short(err error) string {
	s := err.Error()
	if i := strings.Index(s, "desc = "); i >= 0 {
		s = s[i+len("desc = "):]
	}
	return s
}
