package seccomp

import (
	"slices"
	"strings"
)

// Cached gives the program of moby's profile for a set of capabilities where it
// was made in advance: making it takes longer than all the rest that the
// monitor does. default_*.go has the usual set's (go generate writes it, and a
// test compares it with what Compile makes).
func Cached(caps []string) (program []byte, ok bool) {
	if defaultProgram == "" {
		return nil, false
	}
	caps = slices.Clone(caps)
	slices.Sort(caps)
	return []byte(defaultProgram), strings.Join(caps, " ") == defaultCaps
}
