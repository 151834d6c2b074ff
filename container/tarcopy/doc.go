// Package tarcopy copies files as a tar stream between trees that don't trust
// each other: the sender may be lied to by whoever changes the tree meanwhile,
// the receiver by whoever wrote the stream. Both go by (directory descriptor,
// name) alone and follow no symbolic link, and no program of either side is
// run (CVE-2019-14271 ran the container's libraries).
//
// Content, kind, mode and time of change are copied; owners are the receiver's.
// Devices, sockets and extended attributes are left out.
package tarcopy
