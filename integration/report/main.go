// Command report turns the output of `go test -json` into a page that one can
// read: a line per package, the output of what failed, a list of what was
// skipped and why, and the totals. It exits 1 when anything failed.
//
// Skips get their own list because a test that silently doesn't run looks
// just like one that passes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type report struct {
	out                     io.Writer
	text                    map[string]*strings.Builder // output so far, by package and test
	skips                   map[string][]string         // reason to tests
	passed, failed, skipped int
	broken                  bool // something failed that is not a test
}

func main() {
	r := &report{out: os.Stdout, text: map[string]*strings.Builder{}, skips: map[string][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report: reading the test output:", err)
		os.Exit(1)
	}
	r.summary()
	if r.broken || r.failed > 0 {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprint(r.out, string(line)) // of the go command itself
			} else {
				r.handle(&e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) handle(e *event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		if e.Test == "" && (strings.HasPrefix(e.Output, "ok  ") || strings.HasPrefix(e.Output, "FAIL\t")) {
			fmt.Fprint(r.out, e.Output)
			return
		}
		if r.text[key] == nil {
			r.text[key] = &strings.Builder{}
		}
		r.text[key].WriteString(e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.broken = true
	case "pass":
		if e.Test != "" {
			r.passed++
		}
		delete(r.text, key)
	case "fail":
		r.broken = true
		if e.Test != "" {
			r.failed++
		}
		r.show(e, key)
	case "skip":
		if e.Test != "" {
			r.skipped++
			why := r.reason(key)
			r.skips[why] = append(r.skips[why], e.Package[strings.LastIndex(e.Package, "/")+1:]+"."+e.Test)
		}
		delete(r.text, key)
	}
}

// show prints what a failed test or package wrote.
func (r *report) show(e *event, key string) {
	if b := r.text[key]; b != nil {
		what := e.Package
		if e.Test != "" {
			what += " " + e.Test
		}
		fmt.Fprintf(r.out, "---- %s (%.1f s)\n%s", what, e.Elapsed, b.String())
		delete(r.text, key)
	}
}

// reason is the message of the t.Skip: the line before "--- SKIP".
func (r *report) reason(key string) string {
	b := r.text[key]
	if b == nil {
		return "no reason given"
	}
	why := "no reason given"
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if _, rest, ok := strings.Cut(line, ".go:"); ok { // file.go:12: reason
			if _, text, ok := strings.Cut(rest, ": "); ok {
				line = text
			}
		}
		why = line
	}
	return why
}

func (r *report) summary() {
	if len(r.skips) > 0 {
		fmt.Fprintln(r.out, "skipped:")
		var whys []string
		for why := range r.skips {
			whys = append(whys, why)
		}
		slices.Sort(whys)
		for _, why := range whys {
			tests := r.skips[why]
			more := ""
			if len(tests) > 3 {
				more = fmt.Sprintf(" and %d more", len(tests)-3)
				tests = tests[:3]
			}
			fmt.Fprintf(r.out, "  %s: %s%s\n", why, strings.Join(tests, " "), more)
		}
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}
