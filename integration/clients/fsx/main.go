// Command fsx reads, writes, maps, truncates and punches one file at random
// and knows what each byte must be, after the program of that name which finds
// file system bugs since 1991. It exits 1 with the last operations and the
// first wrong byte.
//
//	fsx [-seed N] [-ops N] [-size BYTES] [-keep] FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "start of the random sequence")
	ops := flag.Int("ops", 1000, "number of operations")
	size := flag.Int("size", 256<<10, "largest size of the file")
	keep := flag.Bool("keep", false, "start from what is in the file instead of truncating it")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	x := &exerciser{path: flag.Arg(0), max: *size, rng: rand.New(rand.NewPCG(*seed, 1))}
	if err := x.run(*ops, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "fsx: %s: seed %d: %v\n", x.path, *seed, err)
		for _, line := range x.log {
			fmt.Fprintln(os.Stderr, "  ", line)
		}
		os.Exit(1)
	}
}

// logged is how many of the last operations a failure shows.
const logged = 30

// exerciser is one file and what must be in it.
type exerciser struct {
	path string
	max  int
	rng  *rand.Rand
	f    *os.File
	want []byte
	log  []string
}

func (x *exerciser) run(ops int, keep bool) (err error) {
	flags := os.O_RDWR | os.O_CREATE
	if keep {
		if x.want, err = os.ReadFile(x.path); err != nil {
			return err
		}
	} else {
		flags |= os.O_TRUNC
	}
	if x.f, err = os.OpenFile(x.path, flags, 0o644); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.f.Close()) }()
	for i := range ops {
		op := operations[x.rng.IntN(len(operations))]
		if err := op(x); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
		if st, err := x.f.Stat(); err != nil || st.Size() != int64(len(x.want)) {
			return fmt.Errorf("operation %d: size is %d, want %d (%v)", i, st.Size(), len(x.want), err)
		}
	}
	return x.compareAll()
}

// operations, the common ones several times.
var operations = []func(*exerciser) error{
	(*exerciser).write, (*exerciser).write, (*exerciser).write,
	(*exerciser).read, (*exerciser).read, (*exerciser).read,
	(*exerciser).mapRead, (*exerciser).mapRead, (*exerciser).mapWrite, (*exerciser).mapWrite,
	(*exerciser).truncate, (*exerciser).punch, (*exerciser).zero, (*exerciser).copyRange,
	(*exerciser).appendOne, (*exerciser).sync, (*exerciser).reopen, (*exerciser).otherFD,
}

// note keeps a line of what was done.
func (x *exerciser) note(format string, args ...any) {
	if len(x.log) == logged {
		x.log = x.log[1:]
	}
	x.log = append(x.log, fmt.Sprintf(format, args...))
}

// span is a random range below max.
func (x *exerciser) span(limit int) (off, n int) {
	if limit == 0 {
		return 0, 0
	}
	off = x.rng.IntN(limit)
	n = 1 + x.rng.IntN(min(limit-off, 40_000))
	return off, n
}

// fill makes n bytes that nobody else wrote.
func (x *exerciser) fill(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(1 + x.rng.IntN(255))
	}
	return p
}

// put changes what must be in the file.
func (x *exerciser) put(off int, p []byte) {
	if grow := off + len(p) - len(x.want); grow > 0 {
		x.want = append(x.want, make([]byte, grow)...)
	}
	copy(x.want[off:], p)
}

// check compares what was read at off.
func (x *exerciser) check(off int, got []byte) error {
	for i := range got {
		if got[i] != x.want[off+i] {
			return fmt.Errorf("byte %d is %#x, want %#x", off+i, got[i], x.want[off+i])
		}
	}
	return nil
}

func (x *exerciser) compareAll() error {
	got, err := os.ReadFile(x.path)
	if err != nil {
		return err
	}
	if len(got) != len(x.want) {
		return fmt.Errorf("the file has %d bytes, want %d", len(got), len(x.want))
	}
	return x.check(0, got)
}

func (x *exerciser) fd() int { return int(x.f.Fd()) }

// unsupported is a refusal that no file system has to be without.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}
