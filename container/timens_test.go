package container

import "testing"

func TestSince(t *testing.T) {
	for release, want := range map[string]bool{
		"6.1.0-56-cloud-amd64": false, "5.15.0": false, "6.2.0": true, "6.12.95+deb12-amd64": true, "7.3": true, "6.2-rc1": true, "": false, "odd": false,
	} {
		if since(release, 6, 2) != want {
			t.Errorf("%q: %v", release, !want)
		}
	}
}
