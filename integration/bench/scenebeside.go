package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// beside: who is kept waiting by whom.

const (
	clients = 8
	copies  = 4 // files that are copied up one after the other
)

func makeBeside(f *fixture) error {
	err := errors.Join(f.layers(2), f.tree("t", f.size.Stat/clients*clients))
	block := make([]byte, 1<<20)
	for i := range copies {
		out, e := os.Create(filepath.Join(f.lowers[0], fmt.Sprint("big", i)))
		if e != nil {
			return e
		}
		for range f.size.Data >> 20 / copies {
			_, e = out.Write(block)
			err = errors.Join(err, e)
		}
		err = errors.Join(err, out.Sync(), out.Close())
	}
	return err
}

func runBeside(b *bench) error {
	all := b.Size.Stat / clients * clients
	look := func(from, n int) error {
		return each(n, func(i int) error { return unix.Lstat(b.path(name("t", from+i)), &unix.Stat_t{}) })
	}
	calm, err := b.latency("idle", func(done <-chan struct{}) error {
		<-done
		return nil
	})
	syncs, err2 := b.latency("beside fsyncs", func(done <-chan struct{}) error {
		return writing(b.path("log"), func(f *os.File) error {
			for buf := make([]byte, 4096); ; {
				select {
				case <-done:
					return nil
				default:
				}
				if _, err := f.Write(buf); err != nil {
					return err
				}
				if err := f.Sync(); err != nil {
					return err
				}
			}
		})
	})
	ups, err3 := b.latency("beside copy-ups", func(<-chan struct{}) error {
		return each(copies, func(i int) error { return appendTo(b.path(fmt.Sprint("big", i))) })
	})
	b.report.Rows = append(b.report.Rows, calm, syncs, ups)
	return errors.Join(err, err2, err3,
		b.cold("stat by 1 client", func() error { return look(0, all) }),
		b.cold(fmt.Sprintf("stat by %d clients, a part each", clients), func() error {
			var wg sync.WaitGroup
			errs := make([]error, clients)
			for p := range errs {
				wg.Add(1)
				go func() {
					defer wg.Done()
					errs[p] = look(p*all/clients, all/clients)
				}()
			}
			wg.Wait()
			return errors.Join(errs...)
		}))
}

// latency is how long the slowest but one in a hundred of look-ups takes while
// somebody else does something. Each is of a name that nobody has asked for yet,
// so that it costs a message.
func (b *bench) latency(what string, other func(done <-chan struct{}) error) (measurement, error) {
	const least, most = 1000, 20_000
	m := measurement{Row: "p99 of a look-up, " + what}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- other(done) }()
	var took []time.Duration
	over := what == "idle" || what == "beside fsyncs" // those go on until they are told
	var err error
	for i := 0; i < most && (len(took) < least || !over); i++ {
		path := b.path(fmt.Sprintf("%s-%s-%d", name("t", i%(b.Size.Stat/clients*clients)), what, i))
		start := time.Now()
		if e := unix.Lstat(path, &unix.Stat_t{}); e != unix.ENOENT {
			return m, fmt.Errorf("a name that isn't there: %w", e)
		}
		took = append(took, time.Since(start))
		if !over {
			select {
			case err = <-ended:
				over = true
				ended <- nil
			default:
			}
		}
	}
	close(done)
	err = errors.Join(err, <-ended)
	slices.Sort(took)
	m.Wall = took[len(took)*99/100].Seconds()
	return m, err
}
