// Package demo is `make demo` (demo.sh), and a test that it works and leaves
// nothing behind.
package demo
