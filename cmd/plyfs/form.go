package main

import (
	"path/filepath"
	"strings"
)

// form is a calling form: which program the caller thinks it has started.
type form int

const (
	formVerb   form = iota // plyfs VERB …
	formDropIn             // fuse-overlayfs [-f] [-d] -o … [SOURCE] TARGET
	formHelper             // mount.fuse3.plyfs SOURCE TARGET [-sfnv] [-o …] [-t …]
)

// callingForm tells the form from the name of the binary, and for the name
// plyfs from the first arguments: libfuse's mount.fuse3, which containerd
// calls, ends in `plyfs SOURCE TARGET -o …`, and containers/storage runs its
// mount_program as `plyfs -o … TARGET`.
func callingForm(argv []string) (form, []string) {
	if len(argv) == 0 {
		return formVerb, nil
	}
	name, args := filepath.Base(argv[0]), argv[1:]
	switch {
	case name == "fuse-overlayfs":
		return formDropIn, args
	case strings.HasPrefix(name, "mount.fuse"), name == "mount.plyfs", name == "fuse3.plyfs", name == "fuse.plyfs":
		return formHelper, args
	case len(args) == 0:
		return formVerb, args
	}
	if _, ok := findVerb(args[0]); ok || !hasOptions(args) {
		return formVerb, args
	}
	if strings.HasPrefix(args[0], "-") {
		return formDropIn, args
	}
	return formHelper, args
}

// hasOptions says whether there is a -o or -oX.
func hasOptions(args []string) bool {
	for _, a := range args {
		if strings.HasPrefix(a, "-o") {
			return true
		}
	}
	return false
}
