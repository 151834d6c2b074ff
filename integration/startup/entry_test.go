package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

// TestEntry: the runtime's own thread in the command line has the timer slack that
// cmd/plyfs/entry.go is about. It looks at a container that says when it runs.
func TestEntry(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		return // there is no entry
	}
	require.Root(t)
	require.FUSE(t)
	require.UserNS(t)
	s, err := newStand(require.User(t).Username)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	cmd := s.command([]string{harness.Binary(t), "run", "--rm", "-i", "--net", "none", "--layer", s.root, "/bin/sh", "-c", "echo runs; read x"})
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	_, err = io.ReadFull(out, line)
	relaxed := 0
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/*")
	for _, task := range tasks {
		text, _ := os.ReadFile("/proc/" + filepath.Base(task) + "/timerslack_ns")
		if strings.TrimSpace(string(text)) == "2000000" {
			relaxed++
		}
	}
	in.Close()
	_ = cmd.Wait() // what read(1) says of its end
	if err != nil || string(line) != "runs\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if relaxed == 0 {
		t.Errorf("none of %d threads is relaxed", len(tasks))
	}
}
