// Package deploy holds what puts the snapshotter onto machines, and takes it
// away again: systemd units, a Kubernetes DaemonSet with its image, and a
// script. Its test has systemd read the units; integration/containerd runs all
// of it on a node.
package deploy
