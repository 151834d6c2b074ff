package seccomp

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// run judges one call as the kernel would.
func run(t *testing.T, prog []unix.SockFilter, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	data := map[uint32]uint32{offNR: nr, offArch: arch}
	for i, a := range args {
		data[uint32(offArgs+8*i)], data[uint32(offArgs+8*i+4)] = uint32(a), uint32(a>>32)
	}
	acc := uint32(0)
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = data[in.K]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == in.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= in.K)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		default:
			t.Fatalf("instruction %d: %+v", pc, in)
		}
	}
	t.Fatal("the program runs off its end")
	return 0
}

const allow = uint32(unix.SECCOMP_RET_ALLOW)

func errno(e unix.Errno) uint32 { return uint32(unix.SECCOMP_RET_ERRNO) | uint32(e) }

// TestDefault asks the program about every system call that there is a rule
// for, and about those that no payload may have.
func TestDefault(t *testing.T) {
	p, err := Default([]string{"CAP_CHOWN"})
	if err != nil {
		t.Fatal(err)
	}
	prog, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(prog))
	for _, a := range arches {
		numbers := a.numbers()
		for _, s := range p.Syscalls {
			for _, name := range s.Names {
				nr, ok := numbers[name]
				if !ok || len(s.Args) > 0 {
					continue
				}
				want, err := ret(s.Action, s.ErrnoRet)
				if err != nil {
					t.Fatal(err)
				}
				if got := run(t, prog, a.audit, nr); got != want {
					t.Errorf("%s (%d): %#x, want %#x", name, nr, got, want)
				}
			}
		}
		for _, name := range strings.Fields("mount umount2 pivot_root fsopen fsconfig fsmount move_mount open_tree mount_setattr unshare setns " +
			"bpf perf_event_open userfaultfd io_uring_setup keyctl add_key request_key open_by_handle_at kexec_load init_module finit_module " +
			"reboot swapon quotactl acct settimeofday") {
			if nr, ok := numbers[name]; ok {
				if got := run(t, prog, a.audit, nr); got == allow {
					t.Errorf("%s is allowed", name)
				}
			}
		}
		if got := run(t, prog, a.audit, a.last()+1); got != errno(unix.ENOSYS) {
			t.Errorf("a call that is newer than the tables: %#x", got)
		}
		if got := run(t, prog, a.audit, 0x40000000|numbers["read"]); got == allow {
			t.Errorf("a call of the x32 ABI is allowed")
		}
		clone := numbers["clone"]
		for flags, want := range map[uint64]uint32{
			uint64(unix.SIGCHLD): allow, unix.CLONE_THREAD: allow,
			unix.CLONE_NEWUSER: errno(unix.EPERM), unix.CLONE_NEWNS | uint64(unix.SIGCHLD): errno(unix.EPERM),
		} {
			if got := run(t, prog, a.audit, clone, flags); got != want {
				t.Errorf("clone(%#x): %#x, want %#x", flags, got, want)
			}
		}
	}
	if got := run(t, prog, 12345, 0); got != uint32(unix.SECCOMP_RET_KILL_PROCESS) {
		t.Errorf("an unknown architecture: %#x", got)
	}
}

// TestCapabilities: what a capability is for is allowed with it.
func TestCapabilities(t *testing.T) {
	p, err := Default([]string{"CAP_SYS_ADMIN"})
	if err != nil {
		t.Fatal(err)
	}
	prog, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, prog, arches[0].audit, arches[0].numbers()["mount"]); got != allow {
		t.Errorf("mount with CAP_SYS_ADMIN: %#x", got)
	}
}

func TestOperators(t *testing.T) {
	big := uint64(1) << 32
	for _, tt := range []struct {
		op       specs.LinuxSeccompOperator
		value    uint64
		two      uint64
		yes, not []uint64
	}{
		{specs.OpEqualTo, big + 5, 0, []uint64{big + 5}, []uint64{5, big, big + 6}},
		{specs.OpNotEqual, big + 5, 0, []uint64{5, big, big + 6, 2*big + 5}, []uint64{big + 5}},
		{specs.OpGreaterThan, big + 5, 0, []uint64{big + 6, 2 * big}, []uint64{big + 5, big + 4, 9}},
		{specs.OpGreaterEqual, big + 5, 0, []uint64{big + 5, big + 6, 2 * big}, []uint64{big + 4, 9}},
		{specs.OpLessThan, big + 5, 0, []uint64{big + 4, 9}, []uint64{big + 5, big + 6, 2 * big}},
		{specs.OpLessEqual, big + 5, 0, []uint64{big + 5, big + 4, 9}, []uint64{big + 6, 2 * big}},
		{specs.OpMaskedEqual, big + 0xf0, big + 0x10, []uint64{big + 0x10, 3*big + 0x1f}, []uint64{0x10, big + 0x20, big}},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{
			Names: []string{"read"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 2, Op: tt.op, Value: tt.value, ValueTwo: tt.two}},
		}}}
		prog, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		nr := arches[0].numbers()["read"]
		for _, v := range tt.yes {
			if got := run(t, prog, arches[0].audit, nr, 0, 0, v); got != allow {
				t.Errorf("%s %#x: %#x does not match", tt.op, tt.value, v)
			}
		}
		for _, v := range tt.not {
			if got := run(t, prog, arches[0].audit, nr, 0, 0, v); got == allow {
				t.Errorf("%s %#x: %#x matches", tt.op, tt.value, v)
			}
		}
	}
}

// TestRules: conditions on two arguments must both hold, on the same one either;
// a rule without conditions comes last.
func TestRules(t *testing.T) {
	arg := func(i uint, v uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: i, Op: specs.OpEqualTo, Value: v}
	}
	seven := uint(7)
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActKillProcess, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &seven},
		{Names: []string{"read", "nosuchcall"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg(0, 1), arg(1, 2)}},
		{Names: []string{"write"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg(0, 1), arg(0, 2)}},
	}}
	prog, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	n := arches[0].numbers()
	for _, tt := range []struct {
		name string
		args []uint64
		want uint32
	}{
		{"read", []uint64{1, 2}, allow},
		{"read", []uint64{1, 3}, errno(7)},
		{"read", []uint64{2, 2}, errno(7)},
		{"write", []uint64{1}, allow},
		{"write", []uint64{2}, allow},
		{"write", []uint64{3}, uint32(unix.SECCOMP_RET_KILL_PROCESS)},
		{"close", nil, uint32(unix.SECCOMP_RET_KILL_PROCESS)},
	} {
		if got := run(t, prog, arches[0].audit, n[tt.name], tt.args...); got != tt.want {
			t.Errorf("%s%v: %#x, want %#x", tt.name, tt.args, got, tt.want)
		}
	}
}

func TestPretend(t *testing.T) {
	p, err := Default(nil)
	if err != nil {
		t.Fatal(err)
	}
	Pretend(p)
	prog, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chown", "fchownat", "setgroups"} {
		if got := run(t, prog, arches[0].audit, arches[0].numbers()[name]); got != errno(0) {
			t.Errorf("%s: %#x", name, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":        "seccomp",
		"empty":           "{}",
		"unknown action":  `{"defaultAction":"SCMP_ACT_NOTIFY"}`,
		"unknown op":      `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_X"}]}]}`,
		"argument number": `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}`,
	} {
		p, err := Load([]byte(text), nil)
		if err == nil {
			_, err = Compile(p)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
