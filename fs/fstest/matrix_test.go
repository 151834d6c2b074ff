package fstest

import (
	"slices"
	"testing"
)

// TestMatrix runs every case on every variant.
func TestMatrix(t *testing.T) {
	for i := range Variants {
		v := &Variants[i]
		t.Run(v.Name, func(t *testing.T) { Run(t, v) })
	}
}

// TestDeviations prints where the oracles and the option sets are not held to
// a case, or to another result, and why. A key that names no variant is an
// error.
func TestDeviations(t *testing.T) {
	known := []string{Plain, Overlay, Plyfs}
	for _, v := range Variants {
		known = append(known, v.Name)
	}
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[slug(c)] {
			t.Errorf("two cases are called %s", slug(c))
		}
		seen[slug(c)] = true
		for what, m := range map[string]map[string]string{"does not run": c.Not, "differs": c.Differs} {
			for k, why := range m {
				if !slices.Contains(known, k) {
					t.Errorf("%s/%s: %q is no variant", c.Family, c.Name, k)
				}
				if why == "" {
					t.Errorf("%s/%s: no reason for %q", c.Family, c.Name, k)
				}
				t.Logf("%s/%s: %s on %s: %s", c.Family, c.Name, what, k, why)
			}
		}
	}
}
