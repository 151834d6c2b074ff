package cli

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestGetopt(t *testing.T) {
	spec := Spec{Short: "o:fd", Long: []string{"debug", "log="}}
	tests := []struct {
		args  string
		flags []Flag
		rest  []string
	}{
		{"", nil, nil},
		{"-o a=1,b m", []Flag{{"o", "a=1,b"}}, []string{"m"}},
		{"-oa m -fd -ob", []Flag{{"o", "a"}, {"f", ""}, {"d", ""}, {"o", "b"}}, []string{"m"}},
		{"-fo x", []Flag{{"f", ""}, {"o", "x"}}, nil},
		{"-fox", []Flag{{"f", ""}, {"o", "x"}}, nil},
		{"--debug --log f --log=g=h m", []Flag{{"debug", ""}, {"log", "f"}, {"log", "g=h"}}, []string{"m"}},
		{"-f -- -d m", []Flag{{"f", ""}}, []string{"-d", "m"}},
		{"- m", nil, []string{"-", "m"}},
	}
	for _, tt := range tests {
		flags, rest, err := spec.Getopt(strings.Fields(tt.args), nil)
		if err != nil || !reflect.DeepEqual(flags, tt.flags) || !reflect.DeepEqual(rest, tt.rest) {
			t.Errorf("%q: %v, %v, %v; want %v, %v", tt.args, flags, rest, err, tt.flags, tt.rest)
		}
	}
}

func TestGetoptLeading(t *testing.T) {
	spec := Spec{Short: "o:f", Leading: true}
	for args, want := range map[string][]string{
		"-f -o a cmd -f --x": {"cmd", "-f", "--x"},
		"-f -- -x -f":        {"-x", "-f"},
	} {
		flags, rest, err := spec.Getopt(strings.Fields(args), nil)
		if err != nil || !reflect.DeepEqual(rest, want) {
			t.Errorf("%s: %v, %v, %v", args, flags, rest, err)
		}
	}
}

func TestGetoptErrors(t *testing.T) {
	spec := Spec{Short: "o:f", Long: []string{"log=", "debug"}}
	for args, want := range map[string]string{
		"-x":        "unknown flag -x",
		"-fx":       "unknown flag -x",
		"-:":        "unknown flag -:",
		"--nope":    "unknown flag --nope",
		"--debug=1": "unknown flag --debug=1",
		"-o":        "-o needs a value",
		"--log":     "--log needs a value",
	} {
		_, _, err := spec.Getopt(strings.Fields(args), nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	var seen []string
	flags, rest, err := spec.Getopt([]string{"-xfo", "a", "--nope", "m"}, func(a string) error {
		seen = append(seen, a)
		return nil
	})
	if err != nil || len(flags) != 2 || len(rest) != 1 || !reflect.DeepEqual(seen, []string{"-x", "--nope"}) {
		t.Errorf("lenient: %v %v %v %v", flags, rest, seen, err)
	}
}

func TestExit(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{errors.New("why"), 1, "plyfs: why\n"},
		{fmt.Errorf("more: %w", errors.New("why")), 1, "plyfs: more: why\n"},
		{errors.Join(errors.New("a"), errors.New("b")), 1, "plyfs: a\nplyfs: b\n"},
		{fmt.Errorf("%w, %w", errors.New("a"), errors.New("b")), 1, "plyfs: a, b\n"},
		{errors.New("no new\nline\tor \x1b[1m\xff here \u2028, \u00fc \"as\" \\ is"), 1, "plyfs: no new\\nline\\tor \\x1b[1m\\xff here \\u2028, \u00fc \"as\" \\ is\n"},
		{Silent(1), 1, ""},
		{errors.Join(Silent(2)), 2, ""},
		{WithCode(125, errors.New("bad")), 125, "plyfs: bad\n"},
		{WithCode(125, nil), 0, ""},
	} {
		var b strings.Builder
		if code := Exit(&b, "plyfs", tt.err); code != tt.code || b.String() != tt.text {
			t.Errorf("%v: code %d, %q; want %d, %q", tt.err, code, b.String(), tt.code, tt.text)
		}
	}
}

func TestOne(t *testing.T) {
	if s, err := One([]string{"m"}, "mount point"); s != "m" || err != nil {
		t.Error(s, err)
	}
	for _, rest := range [][]string{nil, {"a", "b"}} {
		if _, err := One(rest, "mount point"); err == nil || !strings.Contains(err.Error(), "mount point") {
			t.Errorf("%v: %v", rest, err)
		}
	}
}

func TestVersionString(t *testing.T) {
	defer func(v string) { Version = v }(Version)
	Version = "v1.2.3\n"
	if v := VersionString(); v != "1.2.3" {
		t.Errorf("%q", v)
	}
	Version = ""
	if v := VersionString(); v == "" || strings.ContainsAny(v, " \n") {
		t.Errorf("%q", v)
	}
}

func TestTakes(t *testing.T) {
	spec := Spec{Short: "o:", Long: []string{"root=", "debug"}}
	for args, want := range map[string]int{
		"--root d run": 2, "--root=d run": 1, "--root": 1, "--debug x": 0, "run --root d": 0, "-o x": 0, "--": 0, "--roots d": 0,
	} {
		if got := spec.Takes(strings.Fields(args)); got != want {
			t.Errorf("%s: %d, want %d", args, got, want)
		}
	}
}
