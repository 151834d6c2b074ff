package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const doctorUsage = `usage: plyfs doctor [-q] [--format table|json|TEMPLATE]

Looks at what mounting and containers need on this machine, for the user who
asks: ✓ is fine, ! could be better, ✗ is missing. Each ! and ✗ comes with a
command that mends it. Nothing is changed. Exits 1 when something that is
needed is missing.

  -q --quiet       only what could be better or is missing
  --format FORMAT  table, json, or a template for each line
  -h               this text
`

// The states of a finding.
const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// finding is one line of the doctor.
type finding struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

func doctor(args []string) error {
	spec := cli.Spec{Short: "hq", Long: []string{"help", "quiet", "format="}}
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, doctorUsage) {
		return nil
	}
	if len(rest) > 0 {
		return fmt.Errorf("plyfs doctor takes no argument, and got %s", rest[0])
	}
	form, err := cli.Form(lastValue(flags, "format"))
	if err != nil {
		return err
	}
	quiet := slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Name == "q" || f.Name == "quiet" })
	findings := examine()
	ok := true
	for _, f := range findings {
		ok = ok && f.State != stateFail
	}
	all := findings
	if quiet {
		findings = slices.DeleteFunc(slices.Clone(all), func(f finding) bool { return f.State == stateOK })
	}
	switch {
	case form == cli.FormJSON:
		err = cli.PrintJSON(os.Stdout, struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{ok, findings})
	case cli.IsTemplate(form):
		err = cli.PrintList(os.Stdout, form, "", nil, findings)
	default:
		printText(findings)
		if ok && !quiet {
			printReady(all)
		}
	}
	if err == nil && !ok {
		err = cli.Silent(cli.ExitFailure)
	}
	return err
}

// marks are the states for people: green, yellow and red on a terminal.
var marks = map[string]struct{ sign, colour string }{
	stateOK: {"✓", "\x1b[32m"}, stateWarn: {"!", "\x1b[33m"}, stateFail: {"✗", "\x1b[31m"},
}

func printText(findings []finding) {
	coloured := cli.Coloured(os.Stdout)
	for _, f := range findings {
		sign := marks[f.State].sign
		if coloured {
			sign = marks[f.State].colour + sign + "\x1b[m"
		}
		fmt.Printf("%s %s: %s\n", sign, f.Name, f.Detail)
		if f.Fix != "" {
			fmt.Printf("    fix: %s\n", f.Fix)
		}
	}
}

// printReady says what to do first on a machine that has what is needed.
func printReady(findings []finding) {
	try := "mkdir -p /tmp/union && plyfs mount -o lowerdir=/usr:/etc /tmp/union"
	helper := slices.IndexFunc(findings, func(f finding) bool { return f.Name == helperName })
	if os.Geteuid() != 0 && findings[helper].State != stateOK {
		try = "unshare -Urm   and in it:  " + try
	}
	fmt.Println("Ready. Try: ", try)
	if userns := slices.IndexFunc(findings, func(f finding) bool { return f.Name == usernsName }); findings[userns].State == stateOK {
		fmt.Println("       and:  plyfs try bash   (whatever is done in it, the machine stays as it is)")
	}
}

// examine runs all checks for the user who asks. There are two ways to mount
// without being root, and one of them is enough.
func examine() []finding {
	probe := probeUserNamespace()
	dev := checkDevice()
	out := []finding{checkKernel(probe), checkFeatures(probe), dev}
	helper, userns := checkHelper(), checkUserNamespace(probe)
	if os.Geteuid() == 0 {
		demote(&helper)
		demote(&userns)
	} else if helper.State == stateOK {
		demote(&userns)
	} else if userns.State == stateOK {
		demote(&helper)
	}
	out = append(out, helper, userns)
	if os.Geteuid() != 0 {
		out = append(out, checkSubIDs("/etc/subuid", "newuidmap", os.Geteuid()), checkSubIDs("/etc/subgid", "newgidmap", os.Geteuid()))
	}
	out = append(out, checkNetwork())
	out = append(out, checkFuseConf()...)
	out = append(append(out, checkFusectl()), checkLimits()...)
	return append(out, checkCgroups(), checkContainerd())
}

// demote makes what is missing, but not needed, a warning.
func demote(f *finding) {
	if f.State == stateFail {
		f.State = stateWarn
	}
}
