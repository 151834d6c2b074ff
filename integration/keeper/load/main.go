// Command load works in a directory, one process of a mixed load, and knows what
// every call must answer and what every byte must be. It ends after a time or when
// told to by SIGTERM, and prints how much it did and which calls took long; with the first wrong answer it
// exits 1 and says which.
//
//	load [-for DURATION] [-seed N] [-slow DURATION] [-lower] DIR
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	length := flag.Duration("for", 10*time.Second, "how long")
	seed := flag.Uint64("seed", 1, "start of the random sequence")
	slow := flag.Duration("slow", 3*time.Millisecond, "what is reported as slow")
	lower := flag.Bool("lower", false, "make what DIR has in the lower layer, and nothing else")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	unix.Umask(0)
	if *lower {
		makeLower(flag.Arg(0))
		return
	}
	w := &worker{dir: flag.Arg(0), rng: rand.New(rand.NewPCG(*seed, 7)), slow: *slow}
	w.begin()
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	for end := time.Now().Add(*length); time.Now().Before(end) && len(told) == 0; {
		w.step()
	}
	w.finish()
	fmt.Printf("ops %d\n", w.ops)
}

// lowerFile is the i-th file that a worker's directory has in the lower layer.
func lowerFile(i int) (name string, f *file) {
	return fmt.Sprintf("low%d", i), &file{data: pattern(uint64(i), 3000+i*177), names: 1, mode: 0o644}
}

// lowers is how many there are.
const lowers = 40

func makeLower(dir string) {
	for i := range lowers {
		name, f := lowerFile(i)
		if err := os.WriteFile(filepath.Join(dir, name), f.data, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// pattern are bytes that follow from a seed.
func pattern(seed uint64, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		seed = seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(seed >> 56)
	}
	return p
}
