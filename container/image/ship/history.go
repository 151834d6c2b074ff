package ship

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
)

// Step is one step of the making of an image.
type Step struct {
	ocispec.History
	Chain string // "" for a step without a layer
	Bytes int64  // of the layer, unpacked
}

// History gives the steps, the first one first. Layers that the configuration
// says nothing of are steps, too.
func (s *Shipper) History(e *image.Entry) ([]Step, error) {
	cfg, err := s.ReadConfig(e)
	if err != nil {
		return nil, err
	}
	var out []Step
	next := 0
	layer := func(h ocispec.History) {
		st := Step{History: h, Chain: e.Layers[next]}
		if info := s.layerInfo(st.Chain); info != nil {
			st.Bytes = info.Bytes
		}
		next++
		out = append(out, st)
	}
	for _, h := range cfg.History {
		if h.EmptyLayer || next >= len(e.Layers) {
			out = append(out, Step{History: h})
			continue
		}
		layer(h)
	}
	for next < len(e.Layers) {
		layer(ocispec.History{})
	}
	return out, nil
}
