// Package fuseoverlayfs pins the snapshotter that ours is measured beside, as
// a tool of this go.mod. It has one of its own: its containerd is an older one.
package fuseoverlayfs
