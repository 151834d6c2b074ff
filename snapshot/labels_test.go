package snapshot

import (
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/plyfs/plyfs/fs/layer"
)

func TestReadWish(t *testing.T) {
	for _, tt := range []struct {
		key    string
		labels map[string]string
		want   wish
	}{
		{"c1", nil, wish{}},
		{"default/12/c1", nil, wish{}},
		{"extract-123-ab sha256:ff", nil, wish{extract: true}},
		{"default/7/extract-123-ab sha256:ff", nil, wish{extract: true}},
		{"extract-me", nil, wish{}}, // a container with that name
		{"k", map[string]string{labelRef: "sha256:ff"}, wish{extract: true}},
		{"k", map[string]string{labelParentChain: "sha256:ff"}, wish{rebased: true}},
		{"k", map[string]string{labelMaxSize: "4096"}, wish{maxSize: 4096}},
		{"k", map[string]string{labelUIDMapping: "0:1000:1,1:100000:65535", labelGIDMapping: "0:5:10"}, wish{
			uids: []layer.IDRange{{Host: 0, Target: 1000, Length: 1}, {Host: 1, Target: 100000, Length: 65535}},
			gids: []layer.IDRange{{Host: 0, Target: 5, Length: 10}},
		}},
	} {
		w, err := readWish(tt.key, tt.labels)
		if err != nil || !reflect.DeepEqual(w, tt.want) {
			t.Errorf("%s %v: %+v, %v; want %+v", tt.key, tt.labels, w, err, tt.want)
		}
	}
	for _, labels := range []map[string]string{
		{labelMaxSize: ""},
		{labelMaxSize: "0"},
		{labelMaxSize: "9223372036854775808"},
		{labelUIDMapping: "0:0:1"},
		{labelUIDMapping: "0:0", labelGIDMapping: "0:0:1"},
		{labelUIDMapping: "", labelGIDMapping: ""},
		{labelUIDMapping: "0:0:0", labelGIDMapping: "0:0:1"},
		{labelUIDMapping: "a:0:1", labelGIDMapping: "0:0:1"},
		{labelUIDMapping: "4294967295:0:2", labelGIDMapping: "0:0:1"},
	} {
		if _, err := readWish("k", labels); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %v", labels, err)
		}
	}
}
