// Package steps starts a process that executes a prepared list of system calls
// and nothing else, in namespaces of its own: a fork without an exec. Another
// start of a Go program would cost more than all that such a process does. It
// allocates nothing, takes no lock, and has no scheduler: of the program that it
// is a copy of it uses the list.
//
// A list is written for the case that all goes well: what a call is given must be
// known beforehand, or be the result of an earlier one. There are jumps for the
// errors that are expected; anything else ends the process, after one call that
// says so (Failing), and whoever wants to know more does the same by other means.
//
// The runtime's hooks around the fork are those of package syscall. The package
// holds no state and no lock of its own.
package steps

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// List is what the process does. Memory that calls use is kept by it.
type List struct {
	ops  []op
	last op // of Failing
	keep []any
	regs int
	err  error
}

// Result is what a call will give.
type Result int

// op is one call.
type op struct {
	nr    uintptr
	mem   [2]unsafe.Pointer // what a check looks at
	args  [6]uintptr
	from  uintptr // bit i: args[i] is the number of a result
	into  uintptr
	errno uintptr // is no failure: other is next
	other uintptr
	least uintptr // a smaller result is a failure
}

// Numbers of what isn't a system call.
const (
	opCheck = ^uintptr(iota) // is the word at mem[0], masked with args[0], args[1]? else other is next
	opSame                   // are the two words of 64 bits the same?
	opLoad                   // the word at mem[0] is the result
	opAdd                    // args[0] and args[1] are the result
	opStore                  // and goes to the word at mem[0]
	opJump                   // other is next
)

// AnyError is every errno, for Else.
const AnyError = ^unix.Errno(0)

// Unlike is what a check fails with.
const Unlike = unix.ESTALE

// maxResults bounds the results that a list can have.
const maxResults = 64

// Call adds a system call. Arguments are whole numbers, results, strings, and
// pointers, which the list keeps.
func (l *List) Call(nr uintptr, args ...any) *Step {
	o := op{nr: nr, into: maxResults}
	for i, a := range args {
		switch v := a.(type) {
		case int:
			o.args[i] = uintptr(v)
		case uintptr:
			o.args[i] = v
		case Result:
			o.args[i], o.from = uintptr(v), o.from|1<<i
		case string:
			o.args[i] = uintptr(unsafe.Pointer(l.Text(v)))
		case unsafe.Pointer:
			l.keep = append(l.keep, v)
			o.args[i] = uintptr(v)
		default:
			l.err = fmt.Errorf("an argument of type %T", a)
		}
	}
	l.ops = append(l.ops, o)
	return &Step{l, len(l.ops) - 1}
}

// Text is a string as C has it.
func (l *List) Text(s string) *byte {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		l.err = fmt.Errorf("%q: %w", s, err)
		p = new(byte)
	}
	l.keep = append(l.keep, p)
	return p
}

// Texts are strings as execve wants them. The list of them can be changed until
// the process is started.
func (l *List) Texts(all []string) []*byte {
	out := make([]*byte, 0, len(all)+1)
	for _, s := range all {
		out = append(out, l.Text(s))
	}
	out = append(out, nil)
	l.keep = append(l.keep, out)
	return out
}

// Check goes on where the 32 bits at word, masked, are want.
func (l *List) Check(word unsafe.Pointer, mask, want uint32) *Step {
	return l.Call(opCheck, uintptr(mask), uintptr(want)).at(word)
}

// Same goes on where the 64 bits at both are the same.
func (l *List) Same(a, b unsafe.Pointer) *Step { return l.Call(opSame).at(a, b) }

// Load has the 32 bits at word as its result.
func (l *List) Load(word unsafe.Pointer) *Step { return l.Call(opLoad).at(word) }

// Copy has an earlier result as its own, Add a larger one.
func (l *List) Copy(of Result) *Step       { return l.Add(of, 0) }
func (l *List) Add(to Result, n int) *Step { return l.Call(opAdd, to, n) }

// Store writes an earlier result to a word of the machine's size.
func (l *List) Store(of Result, word unsafe.Pointer) { l.Call(opStore, of).at(word) }

// Failing is the call that is made before the process ends because of an error.
func (l *List) Failing(nr uintptr, args ...any) {
	s := l.Call(nr, args...)
	l.last = l.ops[s.i]
	l.ops = l.ops[:s.i]
}

// Step is a call in a list.
type Step struct {
	l *List
	i int
}

func (s *Step) at(mem ...unsafe.Pointer) *Step {
	copy(s.l.ops[s.i].mem[:], mem)
	return s
}

// Result keeps what the call gives.
func (s *Step) Result() Result { return s.Into(s.l.Place()) }

// Place is that of a result that comes later, or of several in turn.
func (l *List) Place() Result {
	r := Result(l.regs)
	if l.regs++; l.regs > maxResults {
		l.err = fmt.Errorf("more than %d results", maxResults)
		r = 0
	}
	return r
}

// Into keeps it in such a place.
func (s *Step) Into(r Result) Result {
	s.l.ops[s.i].into = uintptr(r)
	return r
}

// Least has a smaller result be a failure: the end of a file isn't what was to
// be read.
func (s *Step) Least(n int) *Step {
	s.l.ops[s.i].least = uintptr(n)
	return s
}

// Else goes on elsewhere after this errno (or when a check fails).
func (s *Step) Else(errno unix.Errno) *Jump {
	s.l.ops[s.i].errno = uintptr(errno)
	return &Jump{s.l, s.i}
}

// Or goes on with the next step also after this errno.
func (s *Step) Or(errno unix.Errno) { s.Else(errno).Here() }

// Jump leads to where Here is called. A jump that leads nowhere is a failure.
type Jump struct {
	l *List
	i int
}

// Jump always jumps.
func (l *List) Jump() *Jump {
	return l.Call(opJump).Else(AnyError)
}

// Here is what the next step of the list is.
func (j *Jump) Here() { j.l.ops[j.i].other = uintptr(len(j.l.ops)) }
