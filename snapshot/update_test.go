package snapshot

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// newPlain makes a snapshotter for snapshots that need no mount.
func newPlain(t *testing.T, dir string) *Snapshotter {
	t.Helper()
	s, err := New(Config{Root: dir + "/root", State: dir + "/state", Mounter: nothingMounted{}})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// oneLine says whether an error is one line that names the thing.
func oneLine(err error, name string) bool {
	return err != nil && strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "\n")
}

// TestUpdate: the field paths that there are, and those that there are not.
func TestUpdate(t *testing.T) {
	s, ctx := newPlain(t, t.TempDir()), context.Background()
	type labels = map[string]string
	before := labels{"a": "1", "b.c/d.e": "2"}
	for name, tt := range map[string]struct {
		give  labels
		paths []string
		want  labels // nil is an error
	}{
		"no path":              {labels{"x": "9"}, nil, labels{"x": "9"}},
		"no path, no labels":   {nil, nil, labels{}},
		"all":                  {labels{"x": "9"}, []string{"labels"}, labels{"x": "9"}},
		"all, none given":      {nil, []string{"labels"}, labels{}},
		"all, an empty one":    {labels{"x": "9", "a": ""}, []string{"labels"}, labels{"x": "9"}},
		"a new one":            {labels{"x": "9", "y": "8"}, []string{"labels.x"}, labels{"a": "1", "b.c/d.e": "2", "x": "9"}},
		"one that is there":    {labels{"a": "9", "b.c/d.e": "8"}, []string{"labels.a"}, labels{"a": "9", "b.c/d.e": "2"}},
		"one with dots":        {labels{"b.c/d.e": "8"}, []string{"labels.b.c/d.e"}, labels{"a": "1", "b.c/d.e": "8"}},
		"taken away":           {nil, []string{"labels.a"}, labels{"b.c/d.e": "2"}},
		"emptied":              {labels{"a": ""}, []string{"labels.a"}, labels{"b.c/d.e": "2"}},
		"taken, not there":     {nil, []string{"labels.x"}, before},
		"several":              {labels{"x": "9"}, []string{"labels.x", "labels.a"}, labels{"b.c/d.e": "2", "x": "9"}},
		"one, then all":        {labels{"x": "9"}, []string{"labels.a", "labels"}, labels{"x": "9"}},
		"without a name":       {labels{"x": "9"}, []string{"labels."}, nil},
		"a label without name": {labels{"": "9"}, nil, nil},
		"kind":                 {labels{"x": "9"}, []string{"kind"}, nil},
		"name":                 {labels{"x": "9"}, []string{"name"}, nil},
		"parent":               {labels{"x": "9"}, []string{"labels.x", "parent"}, nil},
		"created":              {labels{"x": "9"}, []string{"created"}, nil},
		"nothing":              {labels{"x": "9"}, []string{""}, nil},
		"capital":              {labels{"x": "9"}, []string{"Labels"}, nil},
		"bad size":             {labels{labelMaxSize: "much"}, []string{"labels." + labelMaxSize}, nil},
		"half a mapping":       {labels{labelUIDMapping: "0:1000:10"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Prepare(ctx, name, "", snapshots.WithLabels(maps.Clone(before)))
			must(t, err)
			was, err := s.Stat(ctx, name)
			must(t, err)
			given := maps.Clone(tt.give)
			got, err := s.Update(ctx, snapshots.Info{Name: name, Kind: snapshots.KindCommitted, Parent: "other", Labels: given}, tt.paths...)
			now, e := s.Stat(ctx, name)
			must(t, e)
			if !maps.Equal(given, tt.give) {
				t.Errorf("the caller's labels are now %v", given)
			}
			if tt.want == nil {
				if !errdefs.IsInvalidArgument(err) || !oneLine(err, name) || !maps.Equal(now.Labels, before) || !now.Updated.Equal(was.Updated) {
					t.Errorf("%v; now %+v", err, now)
				}
				return
			}
			must(t, err)
			if !maps.Equal(got.Labels, tt.want) || !maps.Equal(now.Labels, tt.want) {
				t.Errorf("answered %v, is %v, want %v", got.Labels, now.Labels, tt.want)
			}
			if now.Kind != was.Kind || now.Parent != was.Parent || !now.Created.Equal(was.Created) || !now.Updated.After(was.Updated) || got.Kind != was.Kind || got.Name != name {
				t.Errorf("was %+v, is %+v, answered %+v", was, now, got)
			}
		})
	}
	_, err := s.Update(ctx, snapshots.Info{Name: "nobody"}, "labels")
	if !errdefs.IsNotFound(err) || !oneLine(err, "nobody") {
		t.Errorf("%v", err)
	}
}
