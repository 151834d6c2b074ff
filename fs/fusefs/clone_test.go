package fusefs

import "testing"

func TestResendsSince(t *testing.T) {
	for release, want := range map[string]bool{
		"6.9.0": true, "6.18.44-x": true, "7.0": true, "6.8.12-arch1": false, "6.1.0-28-amd64": false, "5.15.0": false, "strange": true,
	} {
		if got := resendsSince(release); got != want {
			t.Errorf("%s: %v", release, got)
		}
	}
}
