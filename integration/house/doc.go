// Package house holds the rules of the house as tests: which room may import
// which, how long a file may be, that every package says what it is for, what
// lies at the top level, and that the documents' links lead somewhere.
//
// It reads the source tree and runs `go list` and `git ls-files`; it mounts
// and writes nothing.
package house
