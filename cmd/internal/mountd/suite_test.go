package mountd_test

import (
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestSuite is containerd's own suite for snapshotters, as root.
func TestSuite(t *testing.T) {
	require.FUSE(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	testsuite.SnapshotterSuite(t, "plyfs", forSuite)
}

// TestSuiteUserNS is the same suite as root of a user namespace.
func TestSuiteUserNS(t *testing.T) {
	require.FUSE(t)
	require.UserNS(t)
	if !nsbox.Enter(t, nsbox.User) {
		return
	}
	testsuite.SnapshotterSuite(t, "plyfs", forSuite)
}
