// Package house holds the rules of the house as tests: which room may import
// which, how long a file may be, that every package and every exported name says
// what it is for, what lies at the top level, and that the documents are true
// as far as a test can tell: links lead somewhere, functions and tests that are
// spoken of exist, and every error that is printed has its entry.
//
// It reads the source tree and runs `go list` and `git ls-files`; it mounts
// and writes nothing.
package house
