package snapshot

import (
	"errors"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/fs/layer"
)

// ParseOptions reads mount options that are to hold for every union. What a
// snapshot or its labels decide is refused.
func ParseOptions(text string) (*layer.Options, error) {
	o, warnings, err := layer.Parse([]string{text}, false)
	if err == nil && len(warnings) > 0 {
		err = errors.New(warnings[0])
	}
	if err != nil {
		return nil, err
	}
	// Without an upperdir every mount is read-only: that says nothing yet.
	o.ReadOnly = slices.Contains(strings.Split(text, ","), "ro")
	switch {
	case len(o.Lower) > 0, o.Upper != "", o.Work != "", o.Index != "":
		return nil, errors.New("lowerdir, upperdir, workdir and index are the snapshotter's to choose")
	case o.ReadOnly, o.Live, o.Debug, o.FSName != "", o.SizeLimit != 0, o.UIDMap != nil, o.GIDMap != nil:
		return nil, errors.New("ro, live, debug, fsname, size_limit, uidmapping and gidmapping are not for all mounts: labels of a snapshot decide")
	}
	return o, nil
}
