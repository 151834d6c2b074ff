// Package clients runs programs with habits of their own in a mount: git
// (renames, many small files, pack files), the go command (parallel builds),
// sqlite (locks, and shared mappings for its write-ahead log), and fsx, a
// random reader and writer that knows what each byte must be.
package clients
