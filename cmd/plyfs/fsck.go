package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/dialect"
)

const fsckUsage = `usage: plyfs fsck [--repair] [--to DIALECT] [--work DIR] [-v] [--format FORMAT] UPPER

Checks an upper directory that is not mounted: in which dialect its deletions and
owners are written, and what doesn't fit together. Exits 1 when there are errors;
warnings are what works here and may not work elsewhere. Without --repair and --to
nothing is changed.

  --repair        put right what can be without guessing: leftovers, deletions of
                  nothing, marks that are damaged, a mixture of dialects. No data
                  are deleted: what is in the way is moved to lost+found, beside
                  the work directory
  --to DIALECT    write all marks as kernel, userxattr or fuse-overlayfs does, and
                  repair as well. Data, owners and modes stay as they are
  --work DIR      its work directory, to be looked at as well; for --repair and
                  --to it is the one called work beside UPPER, if there is one
  -v --verbose    also list what is as it should be
  --format FORMAT table (one line for each finding, then a summary), json, or a
                  template for each finding
  -h              this text

It can be interrupted and run again. docs/fsck.md says what is done to what.
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
	Mended   []fsckMended      `json:"mended,omitempty"`
	Kept     []fsckMended      `json:"not_mended,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
}

type fsckFinding struct {
	Severity string `json:"severity"`
	Kind     string `json:"kind"`
	Path     string `json:"path"`
	InWork   bool   `json:"in_work,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// fsckMended is what --repair did, or couldn't do.
type fsckMended struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	InWork bool   `json:"in_work,omitempty"`
	Done   string `json:"done"`
	Lost   string `json:"moved_to,omitempty"`
	Error  string `json:"error,omitempty"`
}

// fsckFlags are the arguments of fsck.
type fsckFlags struct {
	upper, work, format string
	verbose, repair     bool
	to                  dialect.To
}

func fsck(args []string) error {
	o, done, err := readFsck(args)
	if done || err != nil {
		return err
	}
	rep := fsckReport{Upper: o.upper, Findings: []fsckFinding{}}
	d, err := openFsck(&o)
	if err != nil {
		return err
	}
	defer d.Close()
	if o.repair {
		if err := d.repair(&o, &rep); err != nil {
			return err
		}
	}
	worst, err := check(d, &rep, func(f dialect.Finding) {
		switch {
		case f.Severity == dialect.SevInfo && !o.verbose:
		case o.format == cli.FormTable:
			fmt.Println(f)
		default:
			rep.Findings = append(rep.Findings, fsckFinding{f.Severity.String(), f.Kind.String(), f.Path, f.InWork, f.Detail})
		}
	})
	if err != nil {
		return err
	}
	rep.OK = worst < dialect.SevError && len(rep.Kept) == 0
	switch {
	case o.format == cli.FormJSON:
		err = cli.PrintJSON(os.Stdout, rep)
	case cli.IsTemplate(o.format):
		err = cli.PrintList(os.Stdout, o.format, "", nil, rep.Findings)
	case !cli.Quiet():
		rep.print()
	}
	if err == nil && !rep.OK {
		err = cli.Silent(cli.ExitFailure)
	}
	return err
}

func readFsck(args []string) (o fsckFlags, done bool, err error) {
	spec := cli.Spec{Short: "hv", Long: []string{"help", "verbose", "work=", "format=", "repair", "to="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return o, false, err
	}
	if wantsHelp(flags, fsckUsage) {
		return o, true, nil
	}
	if o.upper, err = cli.One(rest, "upper directory"); err != nil {
		return o, false, err
	}
	for _, f := range flags {
		switch f.Name {
		case "work":
			o.work = f.Value
		case "format":
			o.format = f.Value // read below
		case "repair":
			o.repair = true
		case "to":
			o.repair = true
			if o.to, err = dialect.ParseTo(f.Value); err != nil {
				return o, false, fmt.Errorf("--to %s: %w", f.Value, err)
			}
		default:
			o.verbose = true
		}
	}
	if o.format, err = cli.Form(o.format); err != nil {
		return o, false, err
	}
	if o.to == dialect.ToKernel && !dialect.CanTrust() {
		return o, false, errors.New("--to kernel: trusted.overlay xattrs can be written by root only: run it as root, or use --to userxattr")
	}
	return o, false, nil
}

// check has the directories checked, and fills in the summary.
func check(d *fsckDirs, rep *fsckReport, report func(dialect.Finding)) (dialect.Severity, error) {
	sum, err := dialect.Check(int(d.upper.Fd()), d.workFD(), report)
	if err != nil {
		return 0, fmt.Errorf("the check of %s could not go on: %w", rep.Upper, err)
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
	if n, kept := len(r.Mended), len(r.Kept); n+kept > 0 {
		fmt.Printf("%d mended, %d not\n", n, kept)
	}
	for _, n := range r.Notes {
		fmt.Println("note:", n)
	}
}
