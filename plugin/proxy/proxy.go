// Package proxy serves a snapshotter to containerd over gRPC, as a proxy
// plugin: the services, their errors, and what is observed of each call. It
// opens no socket and reads no configuration.
package proxy

import (
	"context"
	"path"
	"time"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/diffservice"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/snapshots"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// Differ applies layers and makes them.
type Differ interface {
	diff.Applier
	diff.Comparer
}

// Observer is told of each call when it has ended: its method without the
// service ("Prepare"), how long it took, and its error as a gRPC status.
type Observer func(method string, took time.Duration, err error)

// maxMessage is as much as containerd takes.
const maxMessage = 16 << 20

// NewServer serves s and, when it isn't nil, d. The server answers health
// checks, too.
func NewServer(s snapshots.Snapshotter, d Differ, observe Observer) *grpc.Server {
	if observe == nil {
		observe = func(string, time.Duration, error) {}
	}
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			begin := time.Now()
			res, err := next(ctx, req)
			observe(path.Base(info.FullMethod), time.Since(begin), err)
			return res, err
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			begin := time.Now()
			err := next(srv, stream)
			observe(path.Base(info.FullMethod), time.Since(begin), err)
			return err
		}),
	)
	snapshotsapi.RegisterSnapshotsServer(g, snapshotservice.FromSnapshotter(s))
	if d != nil {
		diffapi.RegisterDiffServer(g, diffservice.FromApplierAndComparer(d, d))
	}
	healthapi.RegisterHealthServer(g, health.NewServer())
	return g
}
