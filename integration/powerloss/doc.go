// Package powerloss cuts the power of the disk below an upper directory: the disk
// keeps the order of what is written to it (fs/fstest/writelog), and what was on it at
// some moment is mounted again. What fsync=auto, strict and volatile promise in
// docs/semantics.md is what is checked.
package powerloss
