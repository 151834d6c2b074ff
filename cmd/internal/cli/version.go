package cli

import (
	"runtime/debug"
	"strings"
)

// Version is set by the linker. A binary that was built without it says what
// the Go toolchain knows.
var Version = ""

// VersionString is the version of this binary, never empty and without spaces.
func VersionString() string {
	if v := strings.TrimSpace(Version); v != "" {
		return strings.TrimPrefix(v, "v")
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "unknown"
}
