// Package demo is `make demo` (demo.sh and its parts), and a test that it works,
// as a user and as root and without a network, and leaves nothing behind.
package demo
