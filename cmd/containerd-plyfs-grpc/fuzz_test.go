package main

import (
	"strings"
	"testing"
)

// FuzzConfig reads any text as the daemon's configuration: an error is one line
// that names the file.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"", "address = \"/x\"\n", "[mounts]\nper_server = 3\noptions = \"x\"\n", "[mounts.x]\n", "a = [", "[log]\nlevel = 1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := defaults()
		err := parseConfig("file", text, &c)
		if err == nil {
			err = c.check()
		} else if !strings.Contains(err.Error(), "file") {
			t.Errorf("%q doesn't name the file", err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %q", err)
		}
	})
}
