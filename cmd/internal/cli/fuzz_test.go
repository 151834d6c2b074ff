package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConfig reads any text as the configuration: an error is one line that
// names the file.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{DefaultConfig, "root = 1", "[try]\nhide = [1]\n", "[nope]\nx = 1\n", "root = \"\\u0000\"\n", "\"a\\nb\" = 1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PLYFS_CONFIG", name)
		_, err := LoadConfig()
		if err == nil {
			_, err = ConfiguredRoot()
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), name)) {
			t.Errorf("not a line that names the file: %q", err)
		}
	})
}
