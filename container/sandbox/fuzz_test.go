package sandbox

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad reads a damaged sandbox.json: an error, or a configuration that can
// be written again and read back.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{`{"version":1}`, `{"version":1,"hide":["/a",""],"made":["../x"]}`, `{"version":2}`, "{", "null", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, configFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(dir)
		if err != nil {
			return
		}
		c.Add([]string{"/a"}, nil, nil)
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err != nil {
			t.Errorf("written and not read: %v", err)
		}
	})
}
