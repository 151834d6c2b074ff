// Package tables writes measured tables into documents, for the benchmarks.
package tables

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine says on what it was measured.
func Machine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "an unknown machine"
	}
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	return fmt.Sprintf("Linux %s, %d CPUs", unix.ByteSliceToString(u.Release[:]), bytes.Count(cpus, []byte("processor\t:")))
}

// Rewrite replaces what is between the marks <!-- NAME --> and <!-- /NAME --> of
// a document, each of which has a line of its own.
func Rewrite(path, name, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, last := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	begin, end := bytes.Index(old, []byte(first)), bytes.Index(old, []byte(last))
	if begin < 0 || end < begin {
		return fmt.Errorf("%s lacks the marks %q and %q", path, strings.TrimSpace(first), strings.TrimSpace(last))
	}
	return os.WriteFile(path, []byte(string(old[:begin])+first+text+string(old[end:])), 0o644)
}
