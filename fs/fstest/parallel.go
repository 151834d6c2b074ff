package fstest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// together runs f for 0…n-1 at the same time and fails on the first error.
func (e *Env) together(n int, f func(i int) error) {
	e.T.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	e.ok(errors.Join(errs...))
}

// parallelCases: eight at a time.
func parallelCases() []Case {
	const writers = 8
	return []Case{
		{
			Name:  "eight writers make files, directories and fifos and mix none up",
			Lower: Tree{"d/old": File("")},
			Run: func(_ *testing.T, e *Env) {
				const each = 60
				e.together(writers, func(w int) error {
					for i := range each {
						n := fmt.Sprintf("d/%d-%d", w, i)
						var err error
						switch i % 3 {
						case 0:
							err = os.WriteFile(e.p(n), []byte(n), 0o644)
						case 1:
							if err = unix.Mkdir(e.p(n), 0o711); err == nil {
								err = os.WriteFile(e.p(n+"/in"), []byte(n), 0o600)
							}
						case 2:
							err = unix.Mknod(e.p(n), unix.S_IFIFO|0o622, 0)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
				e.equal(len(e.names("d")), writers*each+1, "number of names")
				for w := range writers {
					for i := range each {
						n := fmt.Sprintf("d/%d-%d", w, i)
						switch i % 3 {
						case 0:
							e.want(n, n)
							e.wantMode(n, 0o644)
						case 1:
							e.want(n+"/in", n)
							e.wantMode(n, 0o711)
						case 2:
							e.equal(e.lstat(n).Mode, uint32(unix.S_IFIFO|0o600), "mode of "+n)
						}
					}
				}
			},
		},
		{
			Name:  "of eight who make the same name one wins",
			Lower: Tree{"d/old": File(""), "d/white": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.unlink("d/white")
				for round := range 20 {
					for kind, make1 := range map[string]func(string) error{
						"mkdir":   func(p string) error { return unix.Mkdir(p, 0o755) },
						"mknod":   func(p string) error { return unix.Mknod(p, unix.S_IFIFO|0o644, 0) },
						"symlink": func(p string) error { return unix.Symlink("x", p) },
						"link":    func(p string) error { return unix.Link(e.p("d/old"), p) },
						"create": func(p string) error {
							fd, err := unix.Open(p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
							if err == nil {
								unix.Close(fd)
							}
							return err
						},
					} {
						n := fmt.Sprintf("d/%s-%d", kind, round)
						if round == 0 && kind == "create" {
							n = "d/white"
						}
						var won atomic.Int32
						e.together(writers, func(int) error {
							err := make1(e.p(n))
							if err == nil {
								won.Add(1)
							} else if !errors.Is(err, unix.EEXIST) {
								return fmt.Errorf("%s: %w", n, err)
							}
							return nil
						})
						e.equal(won.Load(), int32(1), "winners of "+n)
					}
				}
			},
		},
		{
			Name:  "of eight who remove or move the same lower name one wins",
			Lower: Many("d", "f", 60),
			Run: func(_ *testing.T, e *Env) {
				for i := range 60 {
					n := "d/f" + num(i)
					var won atomic.Int32
					e.together(writers, func(w int) error {
						var err error
						if w%2 == 0 {
							err = unix.Unlink(e.p(n))
						} else {
							err = unix.Rename(e.p(n), e.p(fmt.Sprintf("d/moved-%d", i)))
						}
						if err == nil {
							won.Add(1)
						} else if !errors.Is(err, unix.ENOENT) {
							return err
						}
						return nil
					})
					e.equal(won.Load(), int32(1), "winners of "+n)
					e.gone(n)
				}
			},
		},
		{
			Name:  "eight writers copy one big lower file up once and lose nothing",
			Lower: Tree{"f": File(pattern(4 << 20))},
			Run: func(_ *testing.T, e *Env) {
				e.together(writers, func(w int) error {
					f, err := os.OpenFile(e.p("f"), os.O_RDWR, 0)
					if err != nil {
						return err
					}
					defer f.Close()
					for i := range 64 {
						if _, err := f.WriteAt([]byte(fmt.Sprintf("%d/%02d", w, i)), int64(w)<<19+int64(i)*4096); err != nil {
							return err
						}
					}
					return f.Sync()
				})
				want := []byte(pattern(4 << 20))
				for w := range writers {
					for i := range 64 {
						copy(want[w<<19+i*4096:], fmt.Sprintf("%d/%02d", w, i))
					}
				}
				e.want("f", string(want))
				e.wantUpper("f f")
			},
		},
		{
			Name:  "eight who change files of one deep lower directory copy its parents up once",
			Lower: Tree{"a/b/c/d/0": File(""), "a/b/c/d/1": File(""), "a/b/c/d/2": File(""), "a/b/c/d/3": File(""), "a/b/c/d/4": File(""), "a/b/c/d/5": File(""), "a/b/c/d/6": File(""), "a/b/c/d/7": File(""), "a/b": Dir().Perm(0o751)},
			Run: func(_ *testing.T, e *Env) {
				e.together(writers, func(w int) error {
					n := fmt.Sprintf("a/b/c/d/%d", w)
					if err := unix.Chmod(e.p(n), 0o600); err != nil {
						return err
					}
					return os.WriteFile(e.p(n), []byte(n), 0)
				})
				for w := range writers {
					e.want(fmt.Sprintf("a/b/c/d/%d", w), fmt.Sprintf("a/b/c/d/%d", w))
				}
				e.wantMode("a/b", 0o751)
			},
		},
		{
			Name:  "eight who make the same path of directories all find it",
			Lower: Tree{"low/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				for round := range 10 {
					e.together(writers, func(w int) error {
						d := e.p(fmt.Sprintf("low/%d/a/b/c", round))
						if err := os.MkdirAll(d, 0o755); err != nil {
							return err
						}
						return os.WriteFile(fmt.Sprintf("%s/%d", d, w), nil, 0o644)
					})
					e.equal(len(e.names(fmt.Sprintf("low/%d/a/b/c", round))), writers, "number of names")
				}
			},
		},
		{
			Name:  "readers see the old or the new file while it is replaced, never another",
			Lower: Tree{"f": File(strings.Repeat("0", 5000))},
			Run: func(_ *testing.T, e *Env) {
				e.together(writers, func(w int) error {
					for i := range 60 {
						if w < 2 {
							tmp := fmt.Sprintf("tmp%d", w)
							if err := os.WriteFile(e.p(tmp), []byte(strings.Repeat(string(rune('a'+i%26)), 5000)), 0o644); err != nil {
								return err
							}
							if err := unix.Rename(e.p(tmp), e.p("f")); err != nil {
								return err
							}
							continue
						}
						b, err := os.ReadFile(e.p("f"))
						if err != nil {
							return err
						}
						if len(b) != 5000 || strings.Trim(string(b), string(b[:1])) != "" {
							return fmt.Errorf("read a mixture of %d bytes", len(b))
						}
					}
					return nil
				})
				e.wantNames(".", "f")
			},
		},
		{
			Name:  "directories are moved about by eight and none is lost",
			Lower: Tree{"a/x": File(""), "b/x": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.together(writers, func(w int) error {
					n := fmt.Sprint(w)
					if err := unix.Mkdir(e.p("a/"+n), 0o755); err != nil {
						return err
					}
					if err := os.WriteFile(e.p("a/"+n+"/f"), []byte(n), 0o644); err != nil {
						return err
					}
					for i := range 40 {
						from, to := "a/"+n, "b/"+n
						if i%2 == 1 {
							from, to = to, from
						}
						if err := unix.Rename(e.p(from), e.p(to)); err != nil {
							return err
						}
					}
					return nil
				})
				for w := range writers {
					e.want(fmt.Sprintf("a/%d/f", w), fmt.Sprint(w))
				}
				e.wantNames("b", "x")
				e.equal(len(e.names("a")), writers+1, "number of names")
			},
		},
		{
			Name:  "eight trees are removed at once",
			Lower: manyTrees(writers),
			Run: func(_ *testing.T, e *Env) {
				e.together(writers, func(w int) error { return os.RemoveAll(e.p(fmt.Sprintf("t%d", w))) })
				e.wantNames(".")
			},
		},
	}
}

func manyTrees(n int) Tree {
	t := Tree{}
	for i := range n {
		for j := range 30 {
			t[fmt.Sprintf("t%d/%d/%d/f", i, j%3, j)] = File("x")
		}
	}
	return t
}
