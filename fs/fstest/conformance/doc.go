// Package conformance runs other people's test suites on a plyfs mount: those
// that are Go packages. What else was run, and every line that remains, is in
// docs/conformance.md.
package conformance
