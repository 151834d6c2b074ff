package oracle

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

func TestMain(m *testing.M) {
	ServeIfAsked()
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set("rapid.nofailfile", "true") // nothing is written next to the source
	os.Exit(m.Run())
}

// given are the flags of the command line.
var given = map[string]bool{}

// set gives a flag a value unless the command line did.
func set(name, value string) {
	if given[name] {
		return
	}
	if err := flag.Set(name, value); err != nil {
		panic(err)
	}
}

// sequences is PLYFS_SEQUENCES, or what suits the place.
func sequences() int {
	if n, err := strconv.Atoi(os.Getenv("PLYFS_SEQUENCES")); err == nil {
		return n
	}
	if ci() {
		return 2000
	}
	return 200
}

// shards is how many sequences are played at a time. A seed on the command line
// means one stream of sequences.
func shards() int {
	if f := flag.Lookup("rapid.seed"); f != nil && f.Value.String() != "0" {
		return 1
	}
	return 2
}

// play runs so many sequences of one mode, in a box.
func play(t *testing.T, count int, mode *Mode, subject func(testing.TB) Filesystem) {
	n := shards()
	set("rapid.checks", strconv.Itoa((count+n-1)/n))
	for i := range n {
		t.Run(fmt.Sprint("shard", i), func(t *testing.T) {
			w := world(t, mode, subject(t))
			t.Parallel()
			if err := TakeThread(); err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, w.Run)
		})
	}
}

func world(t testing.TB, mode *Mode, subject Filesystem) *World {
	w := &World{Mode: mode, Kernel: Kernel{Label: "kernel"}, Subject: subject, Scratch: t.TempDir(), Disk: t.TempDir()}
	nsbox.Tmpfs(t, w.Scratch, "mode=755")
	return w
}

func plyfs(t testing.TB) Filesystem { return NewPlyfs(t, false) }

func plyfsInUserNS(t testing.TB) Filesystem { return NewPlyfs(t, true) }

// indexed is plyfs with an index file of its lowers, built at the first mount.
func indexed(t testing.TB) Filesystem {
	p := NewPlyfs(t, false)
	p.index = t.TempDir()
	return p
}

func otherKernel(testing.TB) Filesystem { return Kernel{Label: "kernel2"} }

// TestKernelAgreesWithItself tests the test: the same sequence on two mounts of
// overlayfs shows no difference.
func TestKernelAgreesWithItself(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		play(t, sequences()/10, RootMode(), otherKernel)
	}
}

// TestKernelAgreesWithItselfInUserNS does the same without rights.
func TestKernelAgreesWithItselfInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		play(t, sequences()/10, UserMode(), otherKernel)
	}
}

// TestSequences is the test: plyfs does what the kernel does.
func TestSequences(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		play(t, sequences(), RootMode(), plyfs)
	}
}

// TestSequencesInUserNS is the same without rights.
func TestSequencesInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		play(t, sequences(), UserMode(), plyfsInUserNS)
	}
}

// TestSequencesOfOneUser is that with one id, which is what a user without
// subuids has.
func TestSequencesOfOneUser(t *testing.T) {
	if nsbox.Enter(t, nsbox.Sole) {
		play(t, sequences()/5, UserMode(), plyfsInUserNS)
	}
}

// TestSequencesIndexed is TestSequences with an index file.
func TestSequencesIndexed(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		play(t, sequences()/5, RootMode(), indexed)
	}
}

// TestKnownIndexed plays what failed once with an index file.
func TestKnownIndexed(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		replay(t, RootMode(), indexed)
	}
}

// TestKnownPassthrough plays it with the files in the kernel's hands.
func TestKnownPassthrough(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		replay(t, RootMode(), passed)
	}
}

// TestSequencesPassthrough hands the files to the kernel, in all sequences.
func TestSequencesPassthrough(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		play(t, sequences()/5, RootMode(), passed)
	}
}

func passed(t testing.TB) Filesystem { return passing{NewPlyfs(t, false)} }

// passing adds io=passthrough to every mount.
type passing struct{ *Plyfs }

// Mount implements Filesystem.
func (p passing) Mount(a Args) error {
	if a.Extra == "" {
		a.Extra = "io=passthrough"
	}
	return p.Plyfs.Mount(a)
}

// TestKnown plays what failed once.
func TestKnown(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		replay(t, RootMode(), plyfs)
	}
}

// TestKnownInUserNS is the same without rights.
func TestKnownInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		replay(t, UserMode(), plyfsInUserNS)
	}
}

func replay(t *testing.T, mode *Mode, subject func(testing.TB) Filesystem) {
	if err := TakeThread(); err != nil {
		t.Fatal(err)
	}
	w := world(t, mode, subject(t))
	for _, k := range Knowns {
		if mode.UserXattr && k.Root {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			if err := TakeThread(); err != nil {
				t.Fatal(err)
			}
			w.Replay(t, k.Over, k.Look, k.Ops)
		})
	}
}

// TestSoak goes on for half as long as PLYFS_SOAK says: 1h or the like.
func TestSoak(t *testing.T) {
	d := soak(t)
	if nsbox.Enter(t, nsbox.Mounts) {
		playFor(t, d, RootMode(), plyfs)
	}
}

// TestSoakInUserNS goes on for the other half, without rights.
func TestSoakInUserNS(t *testing.T) {
	d := soak(t)
	if nsbox.Enter(t, nsbox.User) {
		playFor(t, d, UserMode(), plyfsInUserNS)
	}
}

// soak is half of PLYFS_SOAK.
func soak(t *testing.T) time.Duration {
	d, err := time.ParseDuration(os.Getenv("PLYFS_SOAK"))
	if err != nil {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
	return d / 2
}

func playFor(t *testing.T, d time.Duration, mode *Mode, subject func(testing.TB) Filesystem) {
	end := time.Now().Add(d)
	for n := 1; time.Now().Before(end) && !t.Failed(); n++ {
		t.Run(fmt.Sprint("round", n), func(t *testing.T) { play(t, sequences(), mode, subject) })
	}
}
