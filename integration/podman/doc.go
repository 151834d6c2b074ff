// Package podman runs Debian's podman and buildah with the binary under test
// as their mount program, as root and as an unprivileged user: images built
// from a Containerfile, an image of 200 layers, runs, commits and diffs.
//
// No registry is used: the base image is made of the machine's busybox. Each
// store lies in a directory of its own; the machine's stay untouched.
package podman
