// Package deploy holds what puts the snapshotter onto machines: systemd units
// and a Kubernetes DaemonSet. Its tests check them against the program: flags,
// paths and the keys of containerd's configuration.
package deploy
