package cgroup

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Rate is how much may be read from or written to a disk in a second.
type Rate struct {
	Device string // of a whole disk
	What   string // one of RateKinds
	Value  uint64 // bytes or operations; 0 takes the limit away
}

// RateKinds are what can be limited, by their name in version 2's io.max: the
// name of the flag, and version 1's file.
var RateKinds = map[string]struct{ Flag, old string }{
	"rbps":  {"device-read-bps", "blkio.throttle.read_bps_device"},
	"wbps":  {"device-write-bps", "blkio.throttle.write_bps_device"},
	"riops": {"device-read-iops", "blkio.throttle.read_iops_device"},
	"wiops": {"device-write-iops", "blkio.throttle.write_iops_device"},
}

// setting finds the disk's number now: it may be another one after a boot. One
// that is no disk any more is refused by the kernel.
func (r Rate) setting() setting {
	kind := RateKinds[r.What]
	var st unix.Stat_t
	_ = unix.Stat(r.Device, &st)
	number := fmt.Sprintf("%d:%d ", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	value := strconv.FormatUint(r.Value, 10)
	newer := value
	if r.Value == 0 {
		newer = "max"
	}
	return setting{
		kind.Flag + " " + r.Device, "io", "blkio",
		[]write{{kind.old, number + value, false}},
		[]write{{"io.max", number + r.What + "=" + newer, false}},
	}
}
