// Package nofile knows the limit of open files that this process was started
// with. Package syscall raises it before anything of ours runs, and gives it back
// to what it executes; what is executed by other means has to be given it by us,
// and nothing says what it was.
//
// Packages without imports are initialised in the order of their paths, so that
// this one comes before syscall; hence it imports nothing, and makes its one system
// call itself. TestFound watches over that.
package nofile

// limit is the struct of prlimit(2) for 64 bits.
type limit struct{ soft, hard uint64 }

var found limit

func init() { read(&found) }

// Known says whether this machine's kind is one that we can ask.
func Known() bool { return found.hard != 0 }

// Found is the limit at the start of this process.
func Found() (soft, hard uint64) { return found.soft, found.hard }
