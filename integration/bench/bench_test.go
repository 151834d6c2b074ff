package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-worker" { // run starts this binary again
		main()
		return
	}
	harness.Main(m)
}

// tiny is enough to run every step.
var tiny = sizes{Layers: []int{2, 5}, Deep: []int{4}, Spread: 60, Tree: 200, Stat: 100, Small: 100, Change: 30, Data: 4 << 20, Git: 20, Warm: true}

// TestBench runs the whole comparison on a small scale: a benchmark that nobody
// runs rots.
func TestBench(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.Overlay(t)
	document := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(document, []byte("<!-- table -->\n<!-- /table -->\n<!-- cpu -->\n<!-- /cpu -->\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := parse([]string{
		"-plyfs", "plyfs=" + harness.Binary(t), "-quick", "-modes", "pinned",
		"-scenes", "start|deep|tree|git|data|create|change|beside|metacopy",
	}) // "go" builds the standard library: half a minute
	if err != nil {
		t.Fatal(err)
	}
	c.size = tiny
	if !harness.IsPlyfs() { // what is under test may be fuse-overlayfs
		c.variants = slices.DeleteFunc(c.variants, func(v variant) bool { return v.Options != "" || v.UserNS || v.Index })
		for i := range c.variants {
			c.variants[i].Plyfs = false
		}
	}
	r, err := run(t.Context(), c, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if err := r.publish(document); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.table())
	for _, row := range r.rows() {
		if targetOf(row, "") == 0 && !strings.HasPrefix(row, "mount(8)") && !strings.Contains(row, "4 layers") && !strings.HasPrefix(row, "p99") && !strings.HasPrefix(row, "stat by") {
			t.Errorf("%q has nothing to reach", row)
		}
		for _, v := range r.Variants {
			if _, ok := summary(r.of("pinned", v, row, wall)); !ok && v != "native" && !strings.Contains(row, "metacopy") {
				t.Errorf("%s was not measured for %s", row, v)
			}
		}
	}
	for _, file := range []string{"bench.json", "chart1.svg"} {
		if st, err := os.Stat(strings.TrimSuffix(document, ".md") + "/" + file); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestCompare: a row that became slower is named, others are not.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, plyfs float64) string {
		r := &results{Rounds: 2, Modes: []string{"pinned"}, Variants: []string{"kernel", "plyfs"}}
		for round := range 2 {
			noise := float64(round) / 100
			r.Runs = append(r.Runs,
				measurement{Row: "untar", Variant: "kernel", Mode: "pinned", Round: round, Wall: 1},
				measurement{Row: "untar", Variant: "plyfs", Mode: "pinned", Round: round, Wall: plyfs + noise})
		}
		path := filepath.Join(dir, name)
		if err := r.save(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, same, slow := write("a", 1.5), write("same", 1.55), write("slow", 2)
	var out bytes.Buffer
	if err := compare(&out, a, same); err != nil {
		t.Error(err)
	}
	if err := compare(&out, a, slow); err == nil || !strings.Contains(err.Error(), "plyfs, untar, pinned: 1.5") {
		t.Error(err)
	}
	if err := compare(&out, slow, a); err != nil {
		t.Error("faster is called slower:", err)
	}
}
