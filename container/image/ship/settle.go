package ship

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/fs/fail"
)

// An image can be used before it is on the disk: waiting for that would take
// longer than everything else. Until somebody has waited, it is known in which
// boot of the machine it was unpacked, and after another one it is unpacked
// again from its blobs, whose digests are compared as ever.

// settle makes sure of what was there before: that has been written meanwhile,
// so there is little to wait for. Preconditions: what this process adds isn't
// listed yet.
func (s *Shipper) settle() error {
	l, err := s.Store.Lock("settle.lock") // whoever waits here finds it done
	if err != nil {
		return err
	}
	defer l.Close()
	list, err := s.Store.List()
	if err != nil {
		return err
	}
	boot := image.BootID()
	var layers []string
	for _, e := range list {
		if e.Boot == boot {
			layers = append(layers, e.Layers...)
		}
	}
	if len(layers) == 0 {
		return nil
	}
	f, err := os.Open(s.Store.Dir())
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	for _, l := range layers {
		if err := s.settleLayer(l); err != nil {
			return err
		}
	}
	return s.Store.Update(func(now []image.Entry) ([]image.Entry, error) {
		for i := range now {
			was := func(o image.Entry) bool { return o.ID == now[i].ID && o.Boot == boot }
			if slices.ContainsFunc(list, was) {
				now[i].Boot = ""
			}
		}
		return now, nil
	})
}

// settleLayer marks one layer as being on the disk, which it is then.
// Preconditions: settle.lock is held.
func (s *Shipper) settleLayer(chain string) error {
	info := s.layerInfo(chain)
	if info == nil || info.Boot == "" {
		return nil
	}
	dir, err := s.Store.Layer(chain)
	if err != nil {
		return err
	}
	info.Boot = ""
	text, err := json.MarshalIndent(info, "", " ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, ".info.json.new")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	fail.Point("image.settling")
	return os.Rename(tmp, filepath.Join(dir, "info.json"))
}
