// Package peers pins the programs that tests run beside plyfs, as tools of
// this go.mod. It is a module of its own: nothing of it is linked into plyfs,
// and its versions are not plyfs'. integration/containerd builds them into a
// cache.
package peers
