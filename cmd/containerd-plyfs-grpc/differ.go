package main

import (
	"context"

	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/plyfs/plyfs/snapshot"
)

// differ is the diff service. What it reads and writes is containerd's, under
// the namespace and the lease of whoever asks.
type differ struct{ d *snapshot.Differ }

// newDiffer connects to containerd when it is first needed: we are started
// before it.
func newDiffer(c *config, s *snapshot.Snapshotter) (differ, func(), error) {
	conn, err := dialContainerd(c)
	if err != nil {
		return differ{}, nil, err
	}
	store := contentproxy.NewContentStore(conn)
	return differ{snapshot.NewDiffer(s, store)}, func() { _ = conn.Close() }, nil
}

// onward hands over what came with the call.
func onward(ctx context.Context) context.Context {
	if ns, ok := namespaces.Namespace(ctx); ok {
		ctx = namespaces.WithNamespace(ctx, ns)
	}
	if id, ok := leases.FromContext(ctx); ok {
		ctx = leases.WithLease(ctx, id)
	}
	return ctx
}

func (d differ) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	return d.d.Apply(onward(ctx), desc, mounts, opts...)
}

func (d differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	return d.d.Compare(onward(ctx), lower, upper, opts...)
}
