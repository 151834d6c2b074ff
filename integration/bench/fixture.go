package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// sizes is how much there is to do.
type sizes struct {
	Layers []int // of the starts
	Deep   []int // layers in which every directory is
	Spread int   // files in those
	Tree   int   // files in 5 layers, to be found and read
	Stat   int   // of those, to be stat'ed
	Small  int   // to create, to unpack, to delete
	Change int   // lower files to change
	Data   int64 // bytes of a big file
	Git    int   // files of a repository
	Full   bool  // with what takes minutes
	Warm   bool  // what is called cold isn't: for a test
}

var (
	full = sizes{
		Layers: []int{10, 100, 300}, Deep: []int{100, 300}, Spread: 6000, Tree: 50_000, Stat: 11_000,
		Small: 20_000, Change: 5000, Data: 1 << 30, Git: 5000, Full: true,
	}
	quick = sizes{
		Layers: []int{10, 100}, Deep: []int{100}, Spread: 1200, Tree: 3000, Stat: 1500,
		Small: 1000, Change: 300, Data: 32 << 20, Git: 300,
	}
)

const (
	perDir  = 100
	content = 1500 // bytes of a small file
)

var data = bytes.Repeat([]byte("small files are most of what there is\n"), content/38+1)[:content]

// fixture makes the layers of a scene.
type fixture struct {
	dir    string
	size   sizes
	lowers []string // top first
}

// layers makes n empty ones.
func (f *fixture) layers(n int) error {
	for l := range n {
		f.lowers = append(f.lowers, filepath.Join(f.dir, fmt.Sprint("l", l)))
		if err := os.MkdirAll(f.lowers[l], 0o755); err != nil {
			return err
		}
	}
	return nil
}

// name of the i-th file below top. Neighbours lie in one directory and in
// different layers, so that every directory is merged.
func name(top string, i int) string {
	return fmt.Sprintf("%s/d%04d/file-%06d", top, i/perDir, i)
}

// tree makes n files, in turns in the layers.
func (f *fixture) tree(top string, n int) error {
	for i := range n {
		if err := put(filepath.Join(f.lowers[i%len(f.lowers)], name(top, i)), data); err != nil {
			return err
		}
	}
	return nil
}

func put(path string, b []byte) error {
	err := os.WriteFile(path, b, 0o644)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		err = os.WriteFile(path, b, 0o644)
	}
	return err
}

// merge makes what a file system without layers would have.
func (f *fixture) merge() error {
	merged := filepath.Join(f.dir, "merged")
	if err := os.MkdirAll(merged, 0o755); err != nil {
		return err
	}
	if len(f.lowers) > 10 {
		return nil // the scenes that use it say so by having few
	}
	for i := len(f.lowers) - 1; i >= 0; i-- {
		if err := command("cp", "-a", f.lowers[i]+"/.", merged)(); err != nil {
			return err
		}
	}
	return nil
}
