package nofile_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/nofile"
)

const child = "PLYFS_NOFILE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		soft, hard := nofile.Found()
		fmt.Println(nofile.Known(), soft, hard)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestFound starts this program with a low limit, and wants it to know that, and
// not what package syscall has made of it.
func TestFound(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		if nofile.Known() {
			t.Fatal("known here, too: say so in read.go")
		}
		return
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -S -n 77 && exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := strings.TrimSpace(string(out)), fmt.Sprintf("true 77 %d", now.Max); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
