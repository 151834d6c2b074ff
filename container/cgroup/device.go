package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Device is one rule of device control: what may be done with a device.
type Device struct {
	Block        bool
	Major, Minor int64  // -1 is any
	Access       string // of r (read), w (write) and m (make a node)
}

// baseDevices are what every container may have, as runc and docker allow it: to
// make any node, which a user namespace forbids anyhow and which is nothing
// without opening it, and the devices that are in each /dev.
var baseDevices = []Device{
	{Block: false, Major: -1, Minor: -1, Access: "m"},
	{Block: true, Major: -1, Minor: -1, Access: "m"},
	{Major: 1, Minor: 3, Access: "rwm"},    // null
	{Major: 1, Minor: 5, Access: "rwm"},    // zero
	{Major: 1, Minor: 7, Access: "rwm"},    // full
	{Major: 1, Minor: 8, Access: "rwm"},    // random
	{Major: 1, Minor: 9, Access: "rwm"},    // urandom
	{Major: 5, Minor: 0, Access: "rwm"},    // tty
	{Major: 5, Minor: 1, Access: "rwm"},    // console
	{Major: 5, Minor: 2, Access: "rwm"},    // ptmx
	{Major: 136, Minor: -1, Access: "rwm"}, // pts/*
}

// DeviceOf is the rule that gives a device node away.
func DeviceOf(path string) (Device, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Device{}, fmt.Errorf("device %s: %w", path, err)
	}
	return Device{
		Block: st.Mode&unix.S_IFMT == unix.S_IFBLK,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)), Access: "rwm",
	}, nil
}

// String is the rule as version 1 has it.
func (d Device) String() string {
	kind := "c"
	if d.Block {
		kind = "b"
	}
	number := func(n int64) string {
		if n < 0 {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return kind + " " + number(d.Major) + ":" + number(d.Minor) + " " + d.Access
}

// GuardDevices forbids the group every device but the usual ones and these. It
// counts for what is opened from now on. Only root can do that; an error says
// why it isn't so.
func (g *Group) GuardDevices(more []Device) error {
	rules := slices.Concat(baseDevices, more)
	switch {
	case g == nil:
	case g.V1["devices"] != "":
		return guard1(g.V1["devices"], rules)
	case g.V2 != "":
		return guard2(g.V2, rules)
	}
	if g != nil && g.refused != "" {
		return errors.New(g.refused)
	}
	return errors.New("there is no cgroup for it")
}

// guard1 writes a list of version 1. What the cgroup above forbids can't be
// allowed, which is no error: it was forbidden before.
func guard1(dir string, rules []Device) error {
	if err := os.WriteFile(filepath.Join(dir, "devices.deny"), []byte("a"), 0); err != nil {
		return err
	}
	allow, err := os.OpenFile(filepath.Join(dir, "devices.allow"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer allow.Close()
	for _, d := range rules {
		if _, err := allow.WriteString(d.String()); err != nil && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("devices.allow %s: %w", d, err)
		}
	}
	return nil
}
