package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const doctorUsage = `usage: plyfs doctor [--format text|json]

Looks at what mounting and containers need on this machine, for the user who
asks: ✓ is fine, ! could be better, ✗ is missing. Each ! and ✗ comes with a
command that mends it. Nothing is changed. Exits 1 when something that is
needed is missing.
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
	spec := cli.Spec{Short: "h", Long: []string{"help", "format="}}
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
	asJSON := false
	for _, f := range flags {
		switch f.Value {
		case "json":
			asJSON = true
		case "text":
			asJSON = false
		default:
			return fmt.Errorf("unknown format %q: text and json are there", f.Value)
		}
	}
	findings := examine()
	ok := true
	for _, f := range findings {
		ok = ok && f.State != stateFail
	}
	if asJSON {
		err = cli.PrintJSON(os.Stdout, struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{ok, findings})
	} else {
		printText(ok, findings)
	}
	if err == nil && !ok {
		err = cli.Silent(cli.ExitFailure)
	}
	return err
}

func printText(ok bool, findings []finding) {
	marks := map[string]string{stateOK: "✓", stateWarn: "!", stateFail: "✗"}
	for _, f := range findings {
		fmt.Printf("%s %s: %s\n", marks[f.State], f.Name, f.Detail)
		if f.Fix != "" {
			fmt.Printf("    fix: %s\n", f.Fix)
		}
	}
	if !ok {
		return
	}
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
	out := []finding{checkKernel(probe), dev}
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
	return append(append(out, checkLimits()...), checkCgroups())
}

// demote makes what is missing, but not needed, a warning.
func demote(f *finding) {
	if f.State == stateFail {
		f.State = stateWarn
	}
}
