package containerd

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// figures collects what was measured.
type figures struct {
	*stand
	rows []*figure
}

// figure is a row of the table.
type figure struct {
	what   string
	unit   unit
	values map[string][]float64
}

type unit string

const (
	milliseconds unit = "ms"
	mebibytes    unit = "MiB"
	pieces       unit = ""
)

func (f *figures) add(what, sn string, u unit, v float64) {
	for _, r := range f.rows {
		if r.what == what {
			r.values[sn] = append(r.values[sn], v)
			return
		}
	}
	f.rows = append(f.rows, &figure{what, u, map[string][]float64{sn: {v}}})
}

func (r *figure) median(sn string) (float64, bool) {
	v := slices.Sorted(slices.Values(r.values[sn]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2, true
}

// table is Markdown: medians, and in brackets how many times overlayfs' (or
// where the kernel has none fuse-overlayfs') it is.
func (f *figures) table() string {
	var b strings.Builder
	var u unix.Utsname
	_ = unix.Uname(&u)
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	fmt.Fprintf(&b, "Medians, in brackets times overlayfs; containerd 2.4.2, fuse-overlayfs-snapshotter 2.1.7; Linux %s, %d CPUs.\n\n",
		unix.ByteSliceToString(u.Release[:]), bytes.Count(cpus, []byte("processor\t:")))
	b.WriteString("| work |")
	for _, sn := range compared {
		b.WriteString(" " + sn + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(compared)) + "\n")
	for _, r := range f.rows {
		b.WriteString("| " + r.what + " |")
		base, hasBase := r.median(compared[0])
		for _, sn := range compared {
			v, ok := r.median(sn)
			switch {
			case !ok:
				b.WriteString(" - |")
				continue
			case r.unit == pieces:
				fmt.Fprintf(&b, " %.0f", v)
			case v < 10:
				fmt.Fprintf(&b, " %.2f %s", v, r.unit)
			default:
				fmt.Fprintf(&b, " %.0f %s", v, r.unit)
			}
			if hasBase && sn != compared[0] {
				fmt.Fprintf(&b, " (%.2f)", v/base)
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
