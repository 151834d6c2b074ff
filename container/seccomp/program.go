package seccomp

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	offNR   = 0
	offArch = 4
	offArgs = 16
)

// builder collects instructions. Jumps lead forward only.
type builder struct{ out []unix.SockFilter }

func (b *builder) emit(code uint16, jt, jf uint8, k uint32) {
	b.out = append(b.out, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (b *builder) load(off uint32) { b.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, off) }

func (b *builder) ret(v uint32) { b.emit(unix.BPF_RET|unix.BPF_K, 0, 0, v) }

// span is a run of numbers that are judged alike.
type span struct {
	first uint32
	rules []rule
	ret   uint32
}

// arch emits the part for one architecture: a binary search over spans.
func (b *builder) arch(a arch, calls map[uint32][]rule, def uint32) error {
	b.load(offArch)
	b.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, a.audit)
	skip := len(b.out)
	b.emit(unix.BPF_JMP|unix.BPF_JA, 0, 0, 0)
	b.load(offNR)
	if err := b.search(spans(calls, a.last(), def)); err != nil {
		return err
	}
	b.out[skip].K = uint32(len(b.out) - skip - 1)
	return nil
}

// spans covers every number there is.
func spans(calls map[uint32][]rule, last, def uint32) []span {
	out := []span{{first: 0, ret: def}}
	add := func(s span) {
		prev := &out[len(out)-1]
		switch {
		case prev.first == s.first:
			*prev = s
		case prev.rules == nil && s.rules == nil && prev.ret == s.ret:
		default:
			out = append(out, s)
		}
	}
	unknown := uint32(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	gap := func(first uint32) span {
		if first > last {
			return span{first: first, ret: unknown}
		}
		return span{first: first, ret: def}
	}
	for _, nr := range slices.Sorted(maps.Keys(calls)) {
		rules := calls[nr]
		s := span{first: nr, ret: def}
		if i := slices.IndexFunc(rules, func(r rule) bool { return len(r.args) == 0 }); i >= 0 {
			s.ret, rules = rules[i].ret, rules[:i]
		}
		if len(rules) > 0 {
			s.rules = rules
		}
		add(s)
		if _, next := calls[nr+1]; !next {
			add(gap(nr + 1))
		}
	}
	if out[len(out)-1].first <= last {
		add(span{first: last + 1, ret: unknown})
	}
	return out
}

func (b *builder) search(all []span) error {
	if len(all) == 1 {
		return b.leaf(all[0])
	}
	mid := len(all) / 2
	b.emit(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 0, 1, all[mid].first)
	jump := len(b.out)
	b.emit(unix.BPF_JMP|unix.BPF_JA, 0, 0, 0)
	if err := b.search(all[:mid]); err != nil {
		return err
	}
	b.out[jump].K = uint32(len(b.out) - jump - 1)
	return b.search(all[mid:])
}

// leaf judges by the arguments where there are rules for them.
func (b *builder) leaf(s span) error {
	for _, r := range s.rules {
		if err := b.rule(r); err != nil {
			return err
		}
	}
	b.ret(s.ret)
	return nil
}

// rule emits: if all conditions hold, return its value; else go on after it.
func (b *builder) rule(r rule) error {
	var tests []unix.SockFilter
	for _, a := range r.args {
		t, err := condition(a)
		if err != nil {
			return err
		}
		tests = append(tests, t...)
	}
	size := len(tests) + 1
	if size > 250 {
		return fmt.Errorf("a seccomp rule has too many conditions")
	}
	for i := range tests {
		t := &tests[i]
		if t.Jt == fail {
			t.Jt = uint8(size - i - 1)
		}
		if t.Jf == fail {
			t.Jf = uint8(size - i - 1)
		}
	}
	b.out = append(b.out, tests...)
	b.ret(r.ret)
	return nil
}

// fail stands for a jump behind the rule until its length is known.
const fail = 255

// condition tests one 64-bit argument with two 32-bit comparisons.
func condition(a specs.LinuxSeccompArg) ([]unix.SockFilter, error) {
	if a.Index > 5 {
		return nil, fmt.Errorf("a seccomp rule names argument %d; there are six, from 0", a.Index)
	}
	lo, hi := uint32(offArgs+8*a.Index), uint32(offArgs+8*a.Index+4)
	if bigEndian {
		lo, hi = hi, lo
	}
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(op uint16, k uint32, jt, jf uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: jt, Jf: jf, K: k}
	}
	and := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: k}
	}
	vl, vh := uint32(a.Value), uint32(a.Value>>32)
	const jeq, jgt, jge = unix.BPF_JEQ, unix.BPF_JGT, unix.BPF_JGE
	switch a.Op {
	case specs.OpEqualTo:
		return []unix.SockFilter{load(hi), jump(jeq, vh, 0, fail), load(lo), jump(jeq, vl, 0, fail)}, nil
	case specs.OpNotEqual:
		return []unix.SockFilter{load(hi), jump(jeq, vh, 0, 2), load(lo), jump(jeq, vl, fail, 0)}, nil
	case specs.OpMaskedEqual:
		tl, th := uint32(a.ValueTwo), uint32(a.ValueTwo>>32)
		return []unix.SockFilter{
			load(hi), and(vh), jump(jeq, th, 0, fail),
			load(lo), and(vl), jump(jeq, tl, 0, fail),
		}, nil
	case specs.OpGreaterThan:
		return []unix.SockFilter{load(hi), jump(jgt, vh, 3, 0), jump(jeq, vh, 0, fail), load(lo), jump(jgt, vl, 0, fail)}, nil
	case specs.OpGreaterEqual:
		return []unix.SockFilter{load(hi), jump(jgt, vh, 3, 0), jump(jeq, vh, 0, fail), load(lo), jump(jge, vl, 0, fail)}, nil
	case specs.OpLessThan:
		return []unix.SockFilter{load(hi), jump(jgt, vh, fail, 0), jump(jeq, vh, 0, 2), load(lo), jump(jge, vl, fail, 0)}, nil
	case specs.OpLessEqual:
		return []unix.SockFilter{load(hi), jump(jgt, vh, fail, 0), jump(jeq, vh, 0, 2), load(lo), jump(jgt, vl, fail, 0)}, nil
	}
	return nil, fmt.Errorf("the seccomp operator %s is not known", a.Op)
}

// bigEndian machines have no table here.
const bigEndian = false
