package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// sizes is how much there is to do.
type sizes struct {
	Files int // in the layers, to be stat'ed
	Work  int // to be read, unpacked and deleted
}

const (
	layers  = 3
	perDir  = 100
	content = 1500 // bytes of a small file
)

// name of the i-th file below top. Neighbours lie in one directory and in
// different layers, so that every directory is merged.
func name(top string, i int) string {
	return fmt.Sprintf("%s/d%04d/file-%06d", top, i/perDir, i)
}

// makeLayers makes the lower layers, each with a part of the trees "stat" and
// "delete", and an archive.
func makeLayers(dir string, s sizes) error {
	data := bytes.Repeat([]byte("small files are most of what there is\n"), content/38+1)[:content]
	for l := range layers {
		root := filepath.Join(dir, fmt.Sprintf("lower%d", l))
		for top, n := range map[string]int{"stat": s.Files, "delete": s.Work} {
			for i := l; i < n; i += layers {
				path := filepath.Join(root, name(top, i))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					return err
				}
			}
		}
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range s.Work {
		h := tar.Header{Name: name("untar", i), Mode: 0o644, Size: content}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "untar.tar"), archive.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(dir, "mnt"), 0o755)
}
