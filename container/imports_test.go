package container

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// linked are the packages outside of the standard library that this room may
// bring along. Every one is read and initialised three times before a payload
// starts.
var linked = []string{
	"golang.org/x/sys/unix",
	"github.com/moby/sys/user",
	"github.com/moby/profiles/seccomp",
	"github.com/opencontainers/runtime-spec/specs-go",
}

// heavy are packages of the standard library with tables to fill or code that
// nothing here needs.
var heavy = []string{
	"net", "net/http", "crypto/rand", "crypto/tls", "encoding/gob", "html/template", "text/template", "regexp", "math/big", "go/ast",
}

// TestStartPath keeps the start of a container light.
func TestStartPath(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, p := range strings.Fields(string(out)) {
		first, _, _ := strings.Cut(p, "/")
		switch {
		case slices.Contains(heavy, p):
			t.Errorf("%s is linked into the start of every container: do without it", p)
		case strings.Contains(first, ".") && !strings.HasPrefix(p, "github.com/plyfs/") && !slices.Contains(linked, p):
			t.Errorf("%s is new in the start of every container: measure what it costs, then add it to the list", p)
		}
	}
}
