package house

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	failpoint = regexp.MustCompile(`fail\.(?:Point|Err)\("([^"]+)"\)`)
	word      = regexp.MustCompile(`[a-z][\w.]*\w`)
	byList    = map[string]string{ // rooms whose test reads the list from the code and dies at each
		"fs/union":          "fs/union/crash_test.go",
		"container/sandbox": "container/sandbox/killed_test.go",
	}
)

// TestFailpoints: each failpoint is one that a test arms. Where something is changed in
// many steps the room's test finds its failpoints in the code; elsewhere a test names it.
func TestFailpoints(t *testing.T) {
	named := map[string]bool{} // in tests
	points := map[string]string{}
	for _, f := range files(t) {
		if filepath.Ext(f) != ".go" {
			continue
		}
		text := read(t, f)
		if strings.HasSuffix(f, "_test.go") {
			for _, w := range word.FindAll(text, -1) {
				named[string(w)] = true
			}
			continue
		}
		for _, m := range failpoint.FindAllSubmatch(text, -1) {
			if byList[filepath.Dir(f)] == "" {
				points[string(m[1])] = f
			}
		}
	}
	if len(points) < 30 {
		t.Errorf("only %d failpoints were found", len(points))
	}
	for p, f := range points {
		if !named[p] {
			t.Errorf("%s: no test arms the failpoint %s", f, p)
		}
	}
	for room, test := range byList {
		if !strings.Contains(string(read(t, test)), `fail\.(?:Point|Err)`) {
			t.Errorf("%s does not read the failpoints of %s any more", test, room)
		}
	}
}
