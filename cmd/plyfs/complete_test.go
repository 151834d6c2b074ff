package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestVerbs walks all verbs: each tells its flags before it does anything, has
// them in its help, completes its arguments and has a manual page.
func TestVerbs(t *testing.T) {
	dir := t.TempDir()
	if err := man([]string{dir}); err != nil {
		t.Fatal(err)
	}
	for _, v := range verbs() {
		spec, ok := cli.Ask(v.run)
		if !ok {
			t.Errorf("%s did something before it looked at its flags", v.name)
			continue
		}
		names, _ := spec.Names()
		if !slices.Contains(names, "-h") || !slices.Contains(names, "--help") {
			t.Errorf("%s has no -h or no --help", v.name)
		}
		if !strings.HasPrefix(v.usage, "usage: plyfs "+v.name) {
			t.Errorf("the help of %s begins with %.40q", v.name, v.usage)
		}
		for _, n := range names {
			if n != "-h" && n != "--help" && !strings.Contains(v.usage, n) {
				short := slices.ContainsFunc(names, func(o string) bool {
					return len(o) == 2 && strings.Contains(v.usage, o) && o[1] == strings.TrimLeft(n, "-")[0]
				})
				if len(n) == 2 || !short {
					t.Errorf("%s takes %s and its help doesn't say so", v.name, n)
				}
			}
		}
		if _, ok := argKinds[v.name]; !ok {
			t.Errorf("completion doesn't know what the arguments of %s are", v.name)
		}
		if got, _ := complete([]string{v.name, "--h"}); !slices.Contains(got, "--help") {
			t.Errorf("plyfs %s --h is completed to %q", v.name, got)
		}
		if got, _ := complete([]string{v.name[:1]}); !slices.Contains(got, v.name) {
			t.Errorf("%s is not completed: %q", v.name, got)
		}
		page, err := os.ReadFile(filepath.Join(dir, "plyfs-"+v.name+".1"))
		if err != nil || !strings.Contains(string(page), "SYNOPSIS") {
			t.Errorf("manual of %s: %v", v.name, err)
		}
	}
}

// lists are the verbs that print rows, or what is known of something, with the
// arguments that they need before they look at --format.
var lists = map[string][]string{
	"ps": nil, "stats": nil, "top": nil, "trace": {"x"}, "metrics": nil, "images": nil, "history": {"x"}, "tree": {"x"},
	"doctor": nil, "version": nil, "fsck": {"x"}, "diff": {"x"}, "checkpoint": {"x"}, "inspect": {"x"},
}

// TestVerbsAlike walks all verbs: -q and --quiet are everywhere, and in the help;
// --format is alike wherever there is something to list; a flag or a format that
// isn't there is answered with the one that was meant.
func TestVerbsAlike(t *testing.T) {
	for _, v := range verbs() {
		spec, _ := cli.Ask(v.run)
		names, valued := spec.Names()
		if !slices.Contains(names, "-q") || !slices.Contains(names, "--quiet") || valued["-q"] || valued["--quiet"] || !strings.Contains(v.usage, "-q") {
			t.Errorf("%s has no -q and --quiet, or its help doesn't say so", v.name)
		}
		err := v.run([]string{"--quite"})
		if err == nil || !strings.HasSuffix(err.Error(), "unknown flag --quite; did you mean --quiet?") {
			t.Errorf("%s --quite: %v", v.name, err)
		}
		args, is := lists[v.name]
		if has := valued["--format"]; has != is && v.name != "save" { // what save writes has no rows
			t.Errorf("%s has --format: %v, want %v", v.name, has, is)
		}
		if !is {
			continue
		}
		for _, f := range []string{"xml", "jsn"} {
			err := v.run(append([]string{"--format", f}, args...))
			hint := map[string]string{"jsn": "; did you mean json?"}[f]
			if err == nil || !strings.HasSuffix(err.Error(), `unknown format "`+f+`": table, json and a template with {{…}} are there`+hint) {
				t.Errorf("%s --format %s: %v", v.name, f, err)
			}
		}
	}
}

// TestColours: whatever colours something asks cli.Coloured, which knows NO_COLOR.
func TestColours(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	more, err2 := filepath.Glob("../internal/*/*.go")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	colour, seen := regexp.MustCompile(`(\\x1b|\\033)\[[0-9;]*m`), 0
	for _, f := range append(files, more...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") || !colour.Match(text) {
			continue
		}
		seen++
		if !strings.Contains(string(text), "cli.Coloured(") {
			t.Errorf("%s colours, and doesn't ask cli.Coloured", f)
		}
	}
	if seen == 0 {
		t.Error("nothing that colours was found")
	}
}

// TestQuiet: -q is taken anywhere among the flags, and not from a command's.
func TestQuiet(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-q a", "a"}, {"-fq a", "f a"}, {"a --quiet -f", "f a"}, {"-- -q", "-q"}, {"-o q a", "o=q a"},
	} {
		flags, rest, err := cli.Spec{Short: "fo:"}.Getopt(strings.Fields(tt.args), nil)
		var got []string
		for _, f := range flags {
			got = append(got, strings.TrimSuffix(f.Name+"="+f.Value, "="))
		}
		if got = append(got, rest...); err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v", tt.args, got, err)
		}
	}
	_, rest, err := cli.Spec{Leading: true}.Getopt([]string{"cmd", "-q"}, nil)
	if err != nil || len(rest) != 2 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"st":                      "stop stats",
		"doctor --format ":        "table json",
		"--root /nowhere config ": "default",
		"completion ":             "bash fish zsh",
		"try --ne":                "--net",
		"run --net h":             "host",
		"mount -":                 "--debug --help --log --quiet -d -f -h -o -q",
		"fsck -v ":                "+files",
		"try ls --":               "+files",
		"nothing ":                "+files",
		"help dia":                "",
	} {
		got, files := complete(strings.Split(line, " "))
		if files {
			got = append(got, "+files")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestBashCompletion has the real bash do it.
func TestBashCompletion(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := `ln -s "$1" "$2/plyfs"; PATH=$2:$PATH; source <(plyfs completion bash)
		COMP_WORDS=(plyfs completion f) COMP_CWORD=2; _plyfs; echo "${COMPREPLY[*]}"`
	cmd := exec.Command("bash", "-c", script, "bash", self, dir)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "fish\n" {
		t.Errorf("%v: %q", err, out)
	}
}

// TestManual: man(1) reads the pages without a complaint.
func TestManual(t *testing.T) {
	require.Tool(t, "man")
	dir := t.TempDir()
	if err := man([]string{dir}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("man", "--warnings=w", "-E", "UTF-8", "-l", dir+"/plyfs.1", dir+"/plyfs-run.1", dir+"/plyfs-mount.1")
	cmd.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=100")
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 || !strings.Contains(string(out), "lowerdir=DIR") {
		t.Errorf("%v: %s\n%s", err, warnings.String(), out)
	}
}
