// Command attack tries, inside of a container, what busybox can't: one system call per
// word. It prints "done" when the call was permitted, else the error.
package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempts are named as on the command line.
var attempts map[string]func(arg string) error

func init() {
	attempts = all // which speaks of attempts
}

var all = map[string]func(arg string) error{
	// abstract connects to a socket of the network namespace.
	"abstract": func(arg string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + arg})
	},
	// listen serves such a socket until it is killed.
	"listen": func(arg string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + arg}); err != nil {
			return err
		}
		if err := unix.Listen(fd, 1); err != nil {
			return err
		}
		fmt.Println("listening")
		return unix.Pause()
	},
	// handle opens the root of a filesystem by its number, as "shocker" did.
	"handle": func(string) error {
		dir, err := unix.Open("/", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		_, err = unix.OpenByHandleAt(dir, unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY)
		return err
	},
	// type puts a character into the input of standard input's terminal.
	"type": func(string) error {
		c := byte('x')
		_, _, e := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
		return errno(e)
	},
	// nftables makes a table of packet filters, ipsec flushes the state of IPsec;
	// nested does one of them as root of a user and a network namespace more.
	"nftables": func(string) error {
		return netlink(unix.NETLINK_NETFILTER, []message{
			{unix.NFNL_MSG_BATCH_BEGIN, []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES}},
			{unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, append([]byte{unix.NFPROTO_IPV4, 0, 0, 0, 6, 0, 1, 0}, "x\x00\x00\x00"...)},
			{unix.NFNL_MSG_BATCH_END, []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES}},
		})
	},
	"ipsec": func(string) error {
		const flushStates = 0x1c                                                     // XFRM_MSG_FLUSHSA
		return netlink(unix.NETLINK_XFRM, []message{{flushStates, make([]byte, 8)}}) // of any protocol
	},
	"nested": func(arg string) error {
		if err := unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNET); err != nil {
			return err
		}
		return attempts[arg]("")
	},
	"fsopen": func(arg string) error { _, err := unix.Fsopen(arg, 0); return err },
	"userns": func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"keyring": func(string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return err
	},
	"uring":    func(string) error { return call(unix.SYS_IO_URING_SETUP, 1) },
	"bpf":      func(string) error { return call(unix.SYS_BPF, 5) },
	"perf":     func(string) error { return call(unix.SYS_PERF_EVENT_OPEN, 0) },
	"fault":    func(string) error { return call(unix.SYS_USERFAULTFD, 0) },
	"writable": func(arg string) error { _, err := unix.Open(arg, unix.O_WRONLY, 0); return err },
	"readable": func(arg string) error { _, err := unix.Open(arg, unix.O_RDONLY|unix.O_NONBLOCK, 0); return err },
}

// message is one of netlink.
type message struct {
	kind uint16
	body []byte
}

// netlink sends messages and gives the first error that is answered.
func netlink(protocol int, messages []message) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	var out []byte
	for i, m := range messages {
		h := unix.NlMsghdr{
			Len: uint32(unix.SizeofNlMsghdr + len(m.body)), Type: m.kind,
			Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE, Seq: uint32(i + 1),
		}
		out = append(out, (*[unix.SizeofNlMsghdr]byte)(unsafe.Pointer(&h))[:]...)
		out = append(out, m.body...)
	}
	if err := unix.Sendto(fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	in := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, in, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return unix.EBADMSG
	}
	code := *(*int32)(unsafe.Pointer(&in[unix.SizeofNlMsghdr]))
	return errno(unix.Errno(-code))
}

func call(nr, arg uintptr) error {
	_, _, e := unix.Syscall(nr, arg, 0, 0)
	return errno(e)
}

func errno(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func main() {
	arg := ""
	if len(os.Args) > 2 {
		arg = os.Args[2]
	}
	if err := attempts[os.Args[1]](arg); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("done")
}
