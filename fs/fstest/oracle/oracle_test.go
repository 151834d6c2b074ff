package oracle

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// rapid's own settings: as many sequences as asked for, and no files
	// written next to the source.
	set("rapid.nofailfile", "true")
	set("rapid.checks", strconv.Itoa(sequences()))
	os.Exit(m.Run())
}

// set gives a flag a value unless the command line did.
func set(name, value string) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
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

// play runs the sequences of one mode, in a box.
func play(t *testing.T, mode *Mode, subject func(testing.TB) Filesystem) {
	n := shards()
	set("rapid.checks", strconv.Itoa((sequences()+n-1)/n))
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

func otherKernel(testing.TB) Filesystem { return Kernel{Label: "kernel2"} }

// TestKernelAgreesWithItself tests the test: the same sequence on two mounts of
// overlayfs shows no difference.
func TestKernelAgreesWithItself(t *testing.T) {
	if nsbox.Enter(t, nsbox.Mounts) {
		play(t, RootMode(), otherKernel)
	}
}

// TestKernelAgreesWithItselfInUserNS does the same without rights.
func TestKernelAgreesWithItselfInUserNS(t *testing.T) {
	if nsbox.Enter(t, nsbox.User) {
		play(t, UserMode(), otherKernel)
	}
}
