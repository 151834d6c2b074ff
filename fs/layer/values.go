package layer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseSize reads BYTES with an optional k, m, g or t suffix (powers of 1024).
func parseSize(s string) (uint64, error) {
	digits, shift := s, 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgt", s[n-1]|0x20); i >= 0 {
			digits, shift = s[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || v > math.MaxUint64>>shift {
		return 0, fmt.Errorf("%q is not a size: write bytes, or a number with k, m, g or t after it", s)
	}
	return v << shift, nil
}

// parseID reads a user or group id. The largest number means "no id" to the
// kernel and is refused.
func parseID(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v == math.MaxUint32 {
		return 0, fmt.Errorf("%q is not an id: write a number below %d", s, uint32(math.MaxUint32))
	}
	return uint32(v), nil
}

// parseIDMap reads STORED:SHOWN:LENGTH[:STORED:SHOWN:LENGTH…], the form of
// fuse-overlayfs. Commas (escaped or quoted) may stand between the triples,
// as its manual page has it.
func parseIDMap(s string) ([]IDRange, error) {
	f := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == ',' })
	if len(f) == 0 || len(f)%3 != 0 {
		return nil, fmt.Errorf("%q is not an id map: write STORED:SHOWN:LENGTH, as often as needed with colons between", s)
	}
	var out []IDRange
	for ; len(f) > 0; f = f[3:] {
		var r IDRange
		var err error
		for i, p := range []*uint32{&r.Host, &r.Target, &r.Length} {
			var e error
			if *p, e = parseID(f[i]); e != nil {
				err = e
			}
		}
		if err != nil {
			return nil, err
		}
		if r.Length == 0 || uint64(max(r.Host, r.Target))+uint64(r.Length) > math.MaxUint32 {
			return nil, fmt.Errorf("%s:%s:%s is not a range of ids: a length is at least 1, and no id reaches %d", f[0], f[1], f[2], uint32(math.MaxUint32))
		}
		out = append(out, r)
	}
	if overlaps(out, func(r IDRange) uint32 { return r.Host }) || overlaps(out, func(r IDRange) uint32 { return r.Target }) {
		return nil, fmt.Errorf("%q maps an id twice: ranges must not overlap", s)
	}
	return out, nil
}

// overlaps says whether two ranges share an id on the side that start picks.
func overlaps(m []IDRange, start func(IDRange) uint32) bool {
	m = slices.Clone(m)
	slices.SortFunc(m, func(a, b IDRange) int { return cmp.Compare(start(a), start(b)) })
	for i := 1; i < len(m); i++ {
		if start(m[i])-start(m[i-1]) < m[i-1].Length {
			return true
		}
	}
	return false
}

func formatIDMap(m []IDRange) string {
	var b strings.Builder
	for i, r := range m {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%d:%d:%d", r.Host, r.Target, r.Length)
	}
	return b.String()
}

// parseSeconds reads a decimal number of seconds; what is too long for a
// Duration (292 years) is cut to it.
func parseSeconds(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a number of seconds", s)
	whole, frac, _ := strings.Cut(s, ".")
	if whole == "" && frac == "" {
		return 0, bad
	}
	if strings.Trim(whole+frac, "0123456789") != "" {
		// 1e9 and its like, as strtod reads them.
		f, err := strconv.ParseFloat(s, 64)
		if (err != nil && !errors.Is(err, strconv.ErrRange)) || math.IsNaN(f) || f < 0 {
			return 0, bad
		}
		if f >= float64(math.MaxInt64)/1e9 {
			return math.MaxInt64, nil
		}
		return time.Duration(f * 1e9), nil
	}
	// By hand: a float would not bring every Duration back unchanged.
	sec, err := strconv.ParseUint("0"+whole, 10, 64)
	if err != nil || sec > math.MaxInt64/uint64(time.Second) {
		return math.MaxInt64, nil
	}
	ns, _ := strconv.ParseUint((frac + "000000000")[:9], 10, 64)
	if total := sec*uint64(time.Second) + ns; total <= math.MaxInt64 {
		return time.Duration(total), nil
	}
	return math.MaxInt64, nil
}

func formatSeconds(d time.Duration) string {
	s := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// parseBool reads on, off, 1 and 0.
func parseBool(s string) (bool, error) {
	switch s {
	case "on", "1":
		return true, nil
	case "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", s)
}
