package ship

import (
	"fmt"
	"runtime"
	"strings"
)

// Platform is what an image is wanted for.
type Platform struct{ OS, Architecture, Variant string }

// ThisPlatform is this machine's.
func ThisPlatform() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT] or ARCHITECTURE.
func ParsePlatform(text string) (Platform, error) {
	f := strings.Split(text, "/")
	if len(f) == 1 {
		f = append([]string{"linux"}, f...)
	}
	if len(f) > 3 || f[0] == "" || f[1] == "" {
		return Platform{}, fmt.Errorf("%q: write OS/ARCHITECTURE[/VARIANT], like linux/arm64/v8", text)
	}
	p := Platform{OS: f[0], Architecture: f[1]}
	switch p.Architecture {
	case "x86_64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	if len(f) == 3 {
		p.Variant = f[2]
	}
	return p, nil
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
