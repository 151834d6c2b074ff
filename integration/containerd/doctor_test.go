package containerd

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDoctor: what is missing in a containerd that runs is told, by a line for
// each thing and the exit code; and where all is well nothing is.
func TestDoctor(t *testing.T) {
	for name, b := range map[string]brought{"1.6": debian16, "1.7": modules17, "2.4": modern} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, b) // with a look of doctor's
			// The one that runs is asked, not the program in the PATH.
			block, err := s.user.Command(t, s.daemon, append([]string{"config", "containerd"}, s.flags()...)...).Output()
			must(t, err)
			if !regexp.MustCompile(`^# For containerd v?` + regexp.QuoteMeta(name)).Match(block) {
				t.Errorf("the block is for another containerd:\n%s", block)
			}
			for _, bad := range []struct {
				edit func(string) string
				want []string // of 1.7 and later; others don't tell more than the first
			}{
				{func(string) string { return "version = 2\n" }, []string{`containerd has no snapshotter "plyfs"`}},
				{func(block string) string {
					block = regexp.MustCompile(`(?m)^ *(capabilities|root|\[proxy_plugins.plyfs.exports\]).*\n`).ReplaceAllString(block, "")
					return block[:strings.Index(block, "# Layers")]
				}, []string{"capability remap-ids", "exports no root", `no differ "plyfs-diff"`}},
				{func(block string) string { return strings.ReplaceAll(block, s.path("plyfs"), s.path("root")) }, []string{"watches the wrong filesystem"}},
				{func(block string) string { return strings.ReplaceAll(block, s.path("p.sock"), s.path("q.sock")) }, []string{"q.sock for the snapshotter, where nothing is"}},
			} {
				if b.release == one6 && bad.want[0] != `containerd has no snapshotter "plyfs"` {
					continue
				}
				s.containerdP.end(unix.SIGTERM)
				s.edit = bad.edit
				s.startContainerd()
				s.doctorSays(bad.want...)
			}
			s.edit = nil
			s.containerdP.end(unix.SIGTERM)
			s.startContainerd()
			s.doctorSays()
			s.daemonP.end(unix.SIGTERM)
			s.doctorSays("the daemon does not answer")
			s.containerdP.end(unix.SIGTERM)
			s.doctorSays("the daemon does not answer", "containerd does not answer")
		})
	}
}

// doctorSays looks for a line about each thing that is missing.
func (s *stand) doctorSays(want ...string) {
	s.t.Helper()
	cmd := s.command(s.daemon, append([]string{"doctor"}, s.flags()...)...)
	out, _ := cmd.Output()
	for _, w := range want {
		if !regexp.MustCompile(`(?m)^MISSING .*` + regexp.QuoteMeta(w)).Match(out) {
			s.t.Errorf("doctor doesn't say %q is missing:\n%s", w, out)
		}
	}
	if code := cmd.ProcessState.ExitCode(); (code == 0) != (len(want) == 0) || code == 0 && strings.Contains(string(out), "MISSING") {
		s.t.Errorf("doctor's exit code is %d:\n%s", code, out)
	}
}
