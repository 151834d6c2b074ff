// Package containerd17 pins the last containerd 1, as tools of this go.mod: its
// dependencies and those of containerd 2 don't go together in one.
package containerd17
