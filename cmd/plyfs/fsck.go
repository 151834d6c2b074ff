package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/dialect"
)

const fsckUsage = `usage: plyfs fsck [--work DIR] [-v] [--format text|json] UPPER

Checks an upper directory that is not mounted: in which dialect its deletions and
owners are written, and what doesn't fit together. Nothing is changed. Exits 1
when there are errors; warnings are what works here and may not work elsewhere.

  --work DIR      its work directory, to be looked at as well
  -v --verbose    also list what is as it should be
  --format FORMAT text (one line for each finding, then a summary) or json
  -h              this text
`

// fsckReport is the result of fsck as JSON.
type fsckReport struct {
	Upper    string            `json:"upper"`
	Dialect  string            `json:"dialect"`
	Override string            `json:"override,omitempty"`
	OK       bool              `json:"ok"`
	Dirs     uint64            `json:"directories"`
	Files    uint64            `json:"files"`
	Copied   uint64            `json:"copied_up"`
	Kinds    map[string]uint64 `json:"kinds"`
	Findings []fsckFinding     `json:"findings"`
	Notes    []string          `json:"notes,omitempty"`
}

type fsckFinding struct {
	Severity string `json:"severity"`
	Kind     string `json:"kind"`
	Path     string `json:"path"`
	InWork   bool   `json:"in_work,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

func fsck(args []string) error {
	spec := cli.Spec{Short: "hv", Long: []string{"help", "verbose", "work=", "format="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, fsckUsage) {
		return nil
	}
	upper, err := cli.One(rest, "upper directory")
	if err != nil {
		return err
	}
	work, format, verbose := "", "text", false
	for _, f := range flags {
		switch f.Name {
		case "work":
			work = f.Value
		case "format":
			format = f.Value
		default:
			verbose = true
		}
	}
	if format != "text" && format != "json" {
		return fmt.Errorf("unknown format %q: text and json are there", format)
	}
	rep := fsckReport{Upper: upper, Findings: []fsckFinding{}}
	worst, err := check(upper, work, &rep, func(f dialect.Finding) {
		switch {
		case f.Severity == dialect.SevInfo && !verbose:
		case format == "text":
			fmt.Println(f)
		default:
			rep.Findings = append(rep.Findings, fsckFinding{f.Severity.String(), f.Kind.String(), f.Path, f.InWork, f.Detail})
		}
	})
	if err != nil {
		return err
	}
	rep.OK = worst < dialect.SevError
	if format == "json" {
		err = cli.PrintJSON(os.Stdout, rep)
	} else {
		rep.print()
	}
	if err == nil && !rep.OK {
		err = cli.Silent(cli.ExitFailure)
	}
	return err
}

// check opens the directories, has them checked, and fills in the summary.
func check(upper, work string, rep *fsckReport, report func(dialect.Finding)) (dialect.Severity, error) {
	u, err := openCheckedDir(upper)
	if err != nil {
		return 0, err
	}
	defer u.Close()
	workFD := -1
	if work != "" {
		w, err := openCheckedDir(work)
		if err != nil {
			return 0, err
		}
		defer w.Close()
		workFD = int(w.Fd())
	}
	sum, err := dialect.Check(int(u.Fd()), workFD, report)
	if err != nil {
		return 0, fmt.Errorf("the check of %s could not go on: %w", upper, err)
	}
	rep.Dialect, rep.Override = sum.Dialect.String(), sum.Override
	rep.Dirs, rep.Files, rep.Copied = sum.Dirs, sum.Files, sum.Copied
	rep.Kinds = make(map[string]uint64)
	for k, n := range sum.Kinds {
		if n > 0 {
			rep.Kinds[dialect.Kind(k).String()] = n
		}
	}
	if sum.TrustedUnseen {
		rep.Notes = append(rep.Notes, "trusted.* xattrs can only be seen by root: the dialect may be another one")
	}
	return sum.Worst, nil
}

func openCheckedDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	return f, nil
}

// print writes the summary as text.
func (r *fsckReport) print() {
	fmt.Printf("%s: dialect %s\n", r.Upper, r.Dialect)
	if r.Override != "" {
		fmt.Printf("owners and modes are kept in %s\n", r.Override)
	}
	fmt.Printf("%d directories, %d files, %d copied up from a lower layer", r.Dirs, r.Files, r.Copied)
	for k := range dialect.Kind(len(dialect.Summary{}.Kinds)) {
		if n := r.Kinds[k.String()]; n > 0 {
			fmt.Printf(", %d %s", n, strings.ReplaceAll(k.String(), "-", " "))
		}
	}
	fmt.Println()
	for _, n := range r.Notes {
		fmt.Println("note:", n)
	}
}
