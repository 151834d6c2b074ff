// Package debian puts a Debian root on three layers, mounts it as an
// unprivileged user, and has apt and dpkg work in it: in a user namespace with
// subordinate ids, and in one of a single id, where owners are kept as data.
//
// The base (by mmdebstrap) and the packages that the tests install are made
// once, from the machine's own apt sources, and kept in a cache; the tests
// themselves need no network.
package debian
