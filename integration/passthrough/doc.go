// Package passthrough holds the tests of io=passthrough, where the kernel reads,
// writes and maps the files of the layers by itself: that it never writes to a
// lower one, and that what it keeps in memory is there once for all mounts.
package passthrough
