package main

import (
	"fmt"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const helpUsage = `usage: plyfs help [VERB]

Prints what there is, or the help of one verb (as plyfs VERB -h does).
`

func help(args []string) error {
	_, rest, err := cli.Spec{Short: "h", Long: []string{"help"}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		fmt.Print(overview())
		return nil
	}
	v, ok := findVerb(rest[0])
	if !ok {
		return unknownVerb(rest[0])
	}
	if v.usage == "" { // the helper has it
		return v.run([]string{"-h"})
	}
	fmt.Print(v.usage)
	return nil
}

func overview() string {
	var b strings.Builder
	b.WriteString("usage: plyfs [--root DIR] [--config FILE] VERB [FLAG…] [ARGUMENT…]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, "  %-10s %s\n", v.name, v.summary)
	}
	b.WriteString("\nplyfs VERB -h says more. Linked as fuse-overlayfs, or as mount.fuse3.plyfs in /sbin,\nthe binary takes the command lines of those.\n")
	return b.String()
}

// quietUsage is the line of the help for -q where the verb has no meaning of its
// own for it.
const quietUsage = "  -q --quiet   only results and errors\n"

// withQuiet is a help text with -q in it.
func withQuiet(usage string) string {
	if usage == "" || strings.Contains(usage, "-q") {
		return usage
	}
	if last := usage[strings.LastIndexByte(strings.TrimSuffix(usage, "\n"), '\n')+1:]; !strings.HasPrefix(last, "  ") {
		usage += "\n"
	}
	return usage + quietUsage
}

// wantsHelp prints the usage text when -h or --help is among the flags.
func wantsHelp(flags []cli.Flag, usage string) bool {
	for _, f := range flags {
		if f.Name == "h" || f.Name == "help" {
			fmt.Print(withQuiet(usage))
			return true
		}
	}
	return false
}
