package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
)

// figures is what a server did between two looks, and in all. The types print
// themselves for people; as JSON they are numbers, and what isn't known is null.
type figures struct {
	Requests  uint64            // since the mount was made
	OpsPerSec rate              // of the time between two looks, as are the next ones
	P50, P99  took              // how long a request took in the server
	CacheHits percent           // names and attributes that no layer was asked for
	Read      size              // bytes per second
	Written   size              // so is this
	CopyUps   uint64            // since the mount was made
	CopiedUp  size              // bytes of that
	Memory    size              // resident, of the server process
	Ops       map[string]uint64 `json:",omitempty"` // requests by kind, between two looks
}

type (
	rate    float64
	took    time.Duration
	percent float64
	size    int64
)

func (r rate) String() string {
	switch {
	case r < 10:
		return strconv.FormatFloat(float64(r), 'f', 1, 64)
	case r < 10000:
		return strconv.FormatFloat(float64(r), 'f', 0, 64)
	}
	return strconv.FormatFloat(float64(r)/1000, 'f', 1, 64) + "k"
}

func (d took) String() string {
	if d <= 0 {
		return "--"
	}
	t := time.Duration(d)
	switch {
	case t < 10*time.Microsecond:
		return t.Round(100 * time.Nanosecond).String()
	case t < time.Millisecond:
		return t.Round(time.Microsecond).String()
	}
	return t.Round(t / 100).String()
}

// MarshalJSON gives seconds.
func (d took) MarshalJSON() ([]byte, error) {
	if d <= 0 {
		return []byte("null"), nil
	}
	return json.Marshal(time.Duration(d).Seconds())
}

func (p percent) String() string {
	if p < 0 {
		return "--"
	}
	return strconv.FormatFloat(float64(p), 'f', 1, 64) + "%"
}

// MarshalJSON gives the number.
func (p percent) MarshalJSON() ([]byte, error) {
	if p < 0 {
		return []byte("null"), nil
	}
	return json.Marshal(float64(p))
}

func (s size) String() string { return bytesOrDashes(int64(s)) }

// MarshalJSON gives the number.
func (s size) MarshalJSON() ([]byte, error) {
	if s < 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(s))
}

// noFigures is for what can't be looked at.
var noFigures = figures{P50: -1, P99: -1, CacheHits: -1, Read: -1, Written: -1, CopiedUp: -1, Memory: -1, OpsPerSec: 0}

// figuresOf compares two looks.
func (s *subject) figuresOf(old, now *meter.Snapshot) figures {
	d := now.Since(old)
	seconds := max(now.At.Sub(old.At).Seconds(), 1e-9)
	f := figures{
		Requests: now.Total(), OpsPerSec: rate(float64(d.Total()) / seconds),
		P50: took(d.Quantile(0.5)), P99: took(d.Quantile(0.99)), CacheHits: -1,
		Read: size(float64(d.Read) / seconds), Written: size(float64(d.Written) / seconds),
		CopyUps: now.CopyUps, CopiedUp: size(now.CopiedUp), Memory: size(resident(s.server)),
		Ops: fusefs.CountsOf(d),
	}
	if n := d.Known + d.Asked; n > 0 {
		f.CacheHits = percent(100 * float64(d.Known) / float64(n))
	}
	return f
}

// resident is the memory of a process, -1 when it isn't known.
func resident(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return -1
}

// watched is a subject with its last look.
type watched struct {
	*subject
	last *meter.Snapshot
}

// watch begins to look at all of them.
func watch(list []*subject) (out []*watched, err error) {
	for _, s := range list {
		if err := s.Watch(0); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		out = append(out, &watched{s, s.Snapshot()})
	}
	return out, nil
}

// look is the next one.
func (w *watched) look() (figures, *meter.Snapshot) {
	_ = w.Watch(0) // renewed: the memory is there
	now := w.Snapshot()
	d := now.Since(w.last)
	f := w.figuresOf(w.last, now)
	w.last = now
	return f, d
}
