package oracle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// copyUpper makes the kernel's upper a copy of plyfs', with all that overlayfs
// reads from it.
func (s *sequence) copyUpper() error {
	k, p := &s.k.Args, &s.p.Args
	s.copies++
	dir := filepath.Join(filepath.Dir(k.Dir), fmt.Sprint("copy", s.copies))
	if err := os.MkdirAll(dir+"/work", 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", p.Upper, dir+"/upper").CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	k.Upper, k.Work = dir+"/upper", dir+"/work"
	return nil
}
