package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
)

const manUsage = `usage: plyfs man DIR

Writes the manual pages plyfs.1 and plyfs-VERB.1 into a directory that is there.
They are made of the texts of -h; man -l DIR/plyfs.1 shows one.

  -h   this text
`

func man(args []string) error {
	flags, rest, err := cli.Spec{Short: "h", Long: []string{"help"}}.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, manUsage) {
		return nil
	}
	dir, err := cli.One(rest, "directory")
	if err != nil {
		return err
	}
	pages := map[string]string{"plyfs.1": overviewPage()}
	for _, v := range verbs() {
		pages["plyfs-"+v.name+".1"] = verbPage(v)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("manual page: %w", err)
		}
	}
	return nil
}

// manHead begins a page. It has no date: the same sources make the same page.
func manHead(name, summary string) string {
	return fmt.Sprintf(".TH %s 1 \"\" \"plyfs %s\" \"plyfs\"\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(name), roff(cli.VersionString()), roff(name), roff(summary))
}

func overviewPage() string {
	var b strings.Builder
	b.WriteString(manHead("plyfs", "union filesystem, throw-away copies of the machine, and containers"))
	b.WriteString(".SH SYNOPSIS\n.B plyfs\n[\\-\\-root DIR] [\\-\\-config FILE] VERB [FLAG…] [ARGUMENT…]\n.SH VERBS\n")
	for _, v := range verbs() {
		fmt.Fprintf(&b, ".TP\n.BR plyfs\\-%s (1)\n%s\n", roff(v.name), roff(v.summary))
	}
	b.WriteString(`.SH EXIT STATUS
0: done. 1: it could not be done, or the command line is wrong. run, exec and try end with the code of their command, 128+N for signal N,
125 when nothing was started, 126 when the command can't be executed, 127 when it isn't there.
.SH ENVIRONMENT
.TP
.B PLYFS_ROOT
where containers are kept, as \-\-root says
.TP
.B PLYFS_CONFIG
the configuration file, as \-\-config says
.TP
.B NO_COLOR
when it is set and not empty, nothing is coloured
.SH FILES
.TP
.I /etc/plyfs/config.toml
configuration for root; ~/.config/plyfs/config.toml for others. plyfs config default prints it.
.SH SEE ALSO
.BR mount (8),
.BR fuse (4),
.BR fusermount3 (1)
`)
	return b.String()
}

// verbPage takes the text of -h apart: usage lines, a description, and a block
// whose lines are indented, which stay as they are.
func verbPage(v verb) string {
	var b strings.Builder
	b.WriteString(manHead("plyfs-"+v.name, v.summary))
	head, body, _ := strings.Cut(v.usage, "\n\n")
	b.WriteString(".SH SYNOPSIS\n.nf\n")
	for line := range strings.Lines(head) {
		b.WriteString(roff(strings.TrimSpace(strings.TrimPrefix(line, "usage:"))) + "\n")
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	literal := false
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if is := strings.HasPrefix(line, "  "); line != "" && is != literal {
			literal = is
			b.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n"}[literal])
		}
		switch {
		case line != "":
			b.WriteString(roff(line) + "\n")
		case literal:
			b.WriteString("\n")
		default:
			b.WriteString(".PP\n")
		}
	}
	if literal {
		b.WriteString(".fi\n")
	}
	b.WriteString(".SH SEE ALSO\n.BR plyfs (1)\n")
	return b.String()
}

// roff is text as the manual's language has it.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
