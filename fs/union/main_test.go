package union

import (
	"os"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	syscall.Umask(0) // as the server has it
	os.Exit(m.Run())
}
