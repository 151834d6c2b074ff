package oracle

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

// TestEachPoint kills the server at each failpoint of the union that the scripts
// pass, which are all that there are.
func TestEachPoint(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	died := eachPoint(t, RootMode(), 1)
	for _, p := range unionPoints(t) {
		if !died[p] {
			t.Errorf("nobody dies at %s", p)
		}
	}
}

// TestEachPointInUserNS is the same without rights: those that can be passed.
func TestEachPointInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		eachPoint(t, UserMode(), 1)
	}
}

// TestEachPointSoak kills it at each passing of each.
func TestEachPointSoak(t *testing.T) {
	soak(t)
	if nsbox.Enter(t, nsbox.Mounts) {
		eachPoint(t, RootMode(), 1000)
	}
}

// TestEachPointSoakInUserNS is the same without rights.
func TestEachPointSoakInUserNS(t *testing.T) {
	soak(t)
	if nsbox.Enter(t, nsbox.User) {
		eachPoint(t, UserMode(), 1000)
	}
}

// eachPoint kills at the first passings of each failpoint of each script.
func eachPoint(t *testing.T, mode *Mode, most int) (died map[string]bool) {
	if err := TakeThread(); err != nil {
		t.Fatal(err)
	}
	w := world(t, mode, NewPlyfs(t, mode.UserXattr))
	died = map[string]bool{}
	for _, sc := range Scripts {
		if sc.Root && mode.UserXattr {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			if err := TakeThread(); err != nil {
				t.Fatal(err)
			}
			passed := w.Points(t, &sc)
			for _, point := range sorted(passed) {
				if died[point] && most == 1 {
					continue // by another script
				}
				for n := 1; n <= min(most, passed[point]); n++ {
					w.RunPoint(t, &sc, point, n)
					died[point] = true
				}
			}
		})
	}
	t.Logf("killed %d times at %d failpoints", w.crashes, len(died))
	return died
}

// unionPoints are the failpoints of the union's code.
func unionPoints(t *testing.T) (points []string) {
	files, err := filepath.Glob("../../union/*.go")
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(`fail\.(?:Point|Err)\("([^"]+)"\)`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllSubmatch(text, -1) {
			points = append(points, string(m[1]))
		}
	}
	if len(points) < 30 {
		t.Errorf("only %d failpoints were found: %q", len(points), points)
	}
	return points
}
