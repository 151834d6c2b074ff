// Package cgroup puts a container into cgroups of its own and sets its limits.
//
// Each controller is looked for by itself: a machine may have some in version
// 1 hierarchies and others in version 2 (a "hybrid" one), and a user may have
// been given some of them and not others. A limit that can't be enforced is a
// warning that names it, the controller and the reason; never a silence.
//
// A group lies beside or below the cgroup of whoever makes it, so the limits of
// that one hold, too; where systemd runs it is in a scope that systemd makes
// (package scope), in the caller's slice. The package touches nothing but files
// of cgroups that it has made, and the list of controllers that a parent hands
// down. It holds no lock.
//
// Devices are forbidden by [Group.GuardDevices].
package cgroup
