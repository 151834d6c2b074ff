package main

import (
	"testing"
)

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11", "": "", "a": "a", "a,B": "aB", "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_": "\x00\x1b\x1c\x1d\x1e\x1f",
		"CTRL-A": "\x01",
	} {
		if got, err := parseKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "a,", "ctrl-", "ctrl-1", "ctrl-ab", "ab", "é"} {
		if got, err := parseKeys(text); err == nil {
			t.Errorf("%q is %q and should be an error", text, got)
		}
	}
}

// TestKeyWatch: whatever pieces it comes in, everything is passed on but the
// sequence.
func TestKeyWatch(t *testing.T) {
	for _, tt := range []struct {
		keys, in, out string
		hit           bool
	}{
		{"\x10\x11", "ab\x10\x11cd", "ab", true},
		{"\x10\x11", "\x10a\x10\x10\x11", "\x10a\x10", true},
		{"\x10\x11", "\x10", "", false},
		{"\x10\x11", "\x11\x10x", "\x11\x10x", false},
		{"aab", "aaab", "a", true},
		{"aab", "aacaab", "aac", true},
		{"abab", "ababab", "", true},
		{"abac", "ababac", "ab", true},
		{"", "\x10\x11", "\x10\x11", false},
		{"q", "xq", "x", true},
	} {
		for size := 1; size <= len(tt.in); size++ {
			w := keyWatch{keys: []byte(tt.keys)}
			var out string
			hit := false
			for rest := tt.in; rest != "" && !hit; {
				n := min(size, len(rest))
				var pass []byte
				pass, hit = w.typed([]byte(rest[:n]))
				out, rest = out+string(pass), rest[n:]
			}
			if out != tt.out || hit != tt.hit {
				t.Errorf("keys %q, typed %q by %d: %q, %v; want %q, %v", tt.keys, tt.in, size, out, hit, tt.out, tt.hit)
			}
		}
	}
}
