package snapshot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/plyfs/plyfs/fs/layer"
)

// The labels that decide something here. They are spelled out where the
// package that defines one is newer than the containerd that we also serve.
const (
	labelRef         = "containerd.io/snapshot.ref"
	labelParentChain = "containerd.io/snapshot/parent-chain-id"
	labelUIDMapping  = snapshots.LabelSnapshotUIDMapping
	labelGIDMapping  = snapshots.LabelSnapshotGIDMapping
	labelMaxSize     = "containerd.io/snapshot/max-size"
)

// wish is what the labels of a snapshot ask for.
type wish struct {
	uids, gids []layer.IDRange
	maxSize    uint64
	// extract says that an image layer is to be unpacked into it.
	extract bool
	// rebased says that it will be committed onto a parent that it hasn't yet.
	rebased bool
}

// readWish reads the labels of the snapshot with this key.
func readWish(key string, labels map[string]string) (w wish, err error) {
	if w.uids, err = parseMapping(labels, labelUIDMapping); err != nil {
		return w, err
	}
	if w.gids, err = parseMapping(labels, labelGIDMapping); err != nil {
		return w, err
	}
	if (w.uids == nil) != (w.gids == nil) {
		return w, fmt.Errorf("labels %s and %s go together: one of them is missing: %w", labelUIDMapping, labelGIDMapping, errdefs.ErrInvalidArgument)
	}
	if v, ok := labels[labelMaxSize]; ok {
		w.maxSize, err = strconv.ParseUint(v, 10, 63)
		if err != nil || w.maxSize == 0 {
			return w, fmt.Errorf("label %s=%q is not a number of bytes: %w", labelMaxSize, v, errdefs.ErrInvalidArgument)
		}
	}
	_, ref := labels[labelRef]
	w.extract = ref || isUnpackKey(key)
	w.rebased = labels[labelParentChain] != ""
	return w, nil
}

// isUnpackKey knows containerd's key for unpacking by its form: the client
// library that unpacks by itself sets no label. A daemon puts its namespace
// and a number before the key.
func isUnpackKey(key string) bool {
	name := key[strings.LastIndexByte(key, '/')+1:]
	return strings.HasPrefix(name, snapshots.UnpackKeyPrefix+"-") && strings.Contains(name, " sha256:")
}

// parseMapping reads "inside:host:length[,…]". On disk a layer has the ids of
// the inside, whoever uses it.
func parseMapping(labels map[string]string, name string) ([]layer.IDRange, error) {
	text, ok := labels[name]
	if !ok {
		return nil, nil
	}
	var ranges []layer.IDRange
	for part := range strings.SplitSeq(text, ",") {
		var n [3]uint32
		fields := strings.Split(part, ":")
		bad := len(fields) != len(n)
		for i := 0; i < len(n) && !bad; i++ {
			v, err := strconv.ParseUint(fields[i], 10, 32)
			n[i], bad = uint32(v), err != nil
		}
		if bad || n[2] == 0 || uint64(n[0])+uint64(n[2]) > 1<<32 || uint64(n[1])+uint64(n[2]) > 1<<32 {
			return nil, fmt.Errorf("label %s=%q: %q is not INSIDE:HOST:LENGTH: %w", name, text, part, errdefs.ErrInvalidArgument)
		}
		ranges = append(ranges, layer.IDRange{Host: n[0], Target: n[1], Length: n[2]})
	}
	return ranges, nil
}
