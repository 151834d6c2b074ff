package cgroup

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Version 2 has no file for devices: a BPF program is asked at each open and
// mknod. Ours is a handful of comparisons, so it is assembled here (decision
// 0013 says why).

// Registers of the program.
const (
	regResult = 0 // and scratch
	regCtx    = 1 // struct bpf_cgroup_dev_ctx: u32 access_type, major, minor
	regKind   = 2
	regAccess = 3
	regMajor  = 4
	regMinor  = 5
)

// Instructions: see bpf(2) and linux/bpf.h.
const (
	opLoad32   = unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM
	opMov      = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	opMovConst = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	opAndConst = unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K
	opShrConst = unix.BPF_ALU64 | unix.BPF_RSH | unix.BPF_K
	opJmpNE    = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
	opExit     = unix.BPF_JMP | unix.BPF_EXIT
)

// Bits of access_type (linux/bpf.h).
const (
	devBlock, devChar              = 1, 2
	accMknod, accRead, accWrite    = 1, 2, 4
	devCtxAccess, devMajor, devMin = 0, 4, 8
)

// inst is one instruction.
type inst struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
}

// deviceProgram allows what one of the rules allows, and nothing else.
func deviceProgram(rules []Device) []inst {
	p := []inst{
		{op: opLoad32, dst: regKind, src: regCtx, off: devCtxAccess},
		{op: opMov, dst: regAccess, src: regKind},
		{op: opAndConst, dst: regKind, imm: 0xffff},
		{op: opShrConst, dst: regAccess, imm: 16},
		{op: opLoad32, dst: regMajor, src: regCtx, off: devMajor},
		{op: opLoad32, dst: regMinor, src: regCtx, off: devMin},
	}
	for _, d := range rules {
		p = append(p, d.test()...)
	}
	return append(p, inst{op: opMovConst, dst: regResult, imm: 0}, inst{op: opExit})
}

// test returns "allowed" when the rule covers what is asked, and goes on after
// its end when it doesn't.
func (d Device) test() []inst {
	kind, access := int32(devChar), int32(0)
	if d.Block {
		kind = devBlock
	}
	for letter, bit := range map[string]int32{"m": accMknod, "r": accRead, "w": accWrite} {
		if strings.Contains(d.Access, letter) {
			access |= bit
		}
	}
	p := []inst{
		{op: opJmpNE, dst: regKind, imm: kind},
		// What is asked beyond the rule must be nothing.
		{op: opMov, dst: regResult, src: regAccess},
		{op: opAndConst, dst: regResult, imm: ^access},
		{op: opJmpNE, dst: regResult, imm: 0},
	}
	if d.Major >= 0 {
		p = append(p, inst{op: opJmpNE, dst: regMajor, imm: int32(d.Major)})
	}
	if d.Minor >= 0 {
		p = append(p, inst{op: opJmpNE, dst: regMinor, imm: int32(d.Minor)})
	}
	p = append(p, inst{op: opMovConst, dst: regResult, imm: 1}, inst{op: opExit})
	for i := range p {
		if p[i].op == opJmpNE {
			p[i].off = int16(len(p) - i - 1)
		}
	}
	return p
}

// encode writes the instructions as this machine's kernel reads them.
func encode(p []inst) []byte {
	var out []byte
	order := binary.NativeEndian
	for _, i := range p {
		regs := i.dst | i.src<<4
		if isBigEndian {
			regs = i.dst<<4 | i.src
		}
		out = append(out, i.op, regs)
		out = order.AppendUint16(out, uint16(i.off))
		out = order.AppendUint32(out, uint32(i.imm))
	}
	return out
}

var isBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// guard2 attaches the program to a cgroup, which keeps it. Programs of the
// cgroups above stay in force.
func guard2(dir string, rules []Device) error {
	code := encode(deviceProgram(rules))
	license := []byte("GPL\x00") // the kernel wants to know; this one calls nothing
	load := struct {
		kind, count     uint32
		code, license   uint64
		logLevel, _     uint32
		_               uint64
		version, flags  uint32
		name            [16]byte
		ifindex, attach uint32
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(code) / 8),
		code: pointer(&code[0]), license: pointer(&license[0]),
		name:   [16]byte{'p', 'l', 'y', 'f', 's', '_', 'd', 'e', 'v'},
		attach: unix.BPF_CGROUP_DEVICE,
	}
	prog, _, e := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if e != 0 {
		return fmt.Errorf("the kernel doesn't take a BPF program for devices: %w", e)
	}
	defer unix.Close(int(prog))
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer unix.Close(group)
	attach := struct{ target, prog, kind, flags uint32 }{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, _, e := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); e != 0 {
		return fmt.Errorf("the BPF program for devices can't be put on %s: %w", dir, e)
	}
	return nil
}

func pointer(p *byte) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
