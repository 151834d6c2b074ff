package union

import (
	"os"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	syscall.Umask(0) // as the server has it
	if v := os.Getenv(crashEnv); v != "" {
		crashChild(v)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
