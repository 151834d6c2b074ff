package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzState reads a damaged state.json or spec.json: an error, or a state that
// can be asked and written again.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		`{"Name":"a","Status":"running","Process":{"PID":1,"Start":5},"Outer":{},"Created":"2026-01-01T00:00:00Z"}`,
		`{"Status":"paused","Monitor":{"PID":-1},"Cgroup":{}}`, `{"Args":["sh"],"Mounts":[{}]}`, `{`, `null`, `[]`, "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		st, spec := new(State), new(Spec)
		if readFile(name, st) == nil {
			st.live()
			_ = st.active()
			if _, err := json.Marshal(st); err != nil {
				t.Errorf("what was read can't be written: %v", err)
			}
		}
		if readFile(name, spec) == nil {
			_ = spec.check()
		}
	})
}
