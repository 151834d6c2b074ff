package main

import (
	"os"
	"os/exec"
	"path/filepath"
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
		if slices.Contains(names, "--format") && v.name != "save" {
			err := v.run([]string{"--format", "xml"})
			if v.name == "diff" || v.name == "fsck" || v.name == "checkpoint" || v.name == "inspect" {
				err = v.run([]string{"--format", "xml", "x"})
			}
			if err == nil || !strings.Contains(err.Error(), `unknown format "xml"`) {
				t.Errorf("%s --format xml: %v", v.name, err)
			}
		}
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
		"mount -":                 "--debug --help --log -d -f -h -o",
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
