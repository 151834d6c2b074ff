package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// fsType is the type that a mount of plyfs has in /proc/self/mountinfo.
const fsType = "fuse.plyfs"

// mountLine is one line of /proc/self/mountinfo.
type mountLine struct {
	id     int
	dev    string // major:minor
	dir    string
	fsType string
}

// mountTable is /proc/self/mountinfo, in the order of mounting.
type mountTable []mountLine

func readMounts() (mountTable, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	return parseMounts(string(text)), nil
}

// parseMounts reads the lines that are whole; proc(5) has the format:
// 36 35 98:0 /root /dir options [optional fields] - type source options.
func parseMounts(text string) mountTable {
	var t mountTable
	for line := range strings.Lines(text) {
		front, back, ok := strings.Cut(line, " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 6 || len(b) < 1 {
			continue
		}
		id, err := strconv.Atoi(f[0])
		if err != nil {
			continue
		}
		t = append(t, mountLine{id, f[2], unoctal(f[4]), b[0]})
	}
	return t
}

// on gives the mount that is on top at dir.
func (t mountTable) on(dir string) (mountLine, bool) {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i].dir == dir {
			return t[i], true
		}
	}
	return mountLine{}, false
}

// mountOn gives the mount that is on top at dir; without /proc one of which
// only dir is known.
func mountOn(dir string) mountLine {
	table, err := readMounts()
	if err != nil {
		return mountLine{dir: dir}
	}
	m, _ := table.on(dir)
	m.dir = dir
	return m
}

// onTop says whether m is still what one finds at its place, and not some
// other mount.
func (m mountLine) onTop() bool { return mountOn(m.dir).dev == m.dev }

// unoctal undoes the kernel's \040 for blanks, backslashes and newlines.
func unoctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return s
}
