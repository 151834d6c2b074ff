package main

import (
	"context"
	"path/filepath"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestSuiteOverGRPC is containerd's suite for snapshotters with the whole
// daemon between.
func TestSuiteOverGRPC(t *testing.T) {
	require.FUSE(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	testsuite.SnapshotterSuite(t, "plyfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		r, err := startDaemon(filepath.Dir(root))
		if err != nil {
			return nil, nil, err
		}
		conn, err := dialUnix(r.socket)
		if err != nil {
			return nil, nil, err
		}
		sn := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "plyfs")
		return sn, func() error {
			_ = conn.Close()
			return r.stop()
		}, nil
	})
}
