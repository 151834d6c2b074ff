package ship

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func parsed(d string) digest.Digest { return digest.Digest(d) }

// putJSON puts a document into the store.
func (s *Shipper) putJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := s.putBlob(text)
	return ocispec.Descriptor{MediaType: mediaType, Digest: parsed(d), Size: int64(len(text))}, err
}

// The types of documents and layers.
const (
	typeOCIIndex       = ocispec.MediaTypeImageIndex
	typeOCIManifest    = ocispec.MediaTypeImageManifest
	typeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

func isIndex(t string) bool { return t == typeOCIIndex || t == typeDockerIndex }

// choose finds the manifest of a platform in an index. Entries that say nothing
// of a platform are taken when there is no other.
func choose(idx *ocispec.Index, p Platform) (*ocispec.Descriptor, bool) {
	var any *ocispec.Descriptor
	for i := range idx.Manifests {
		m := &idx.Manifests[i]
		switch {
		case m.Annotations["vnd.docker.reference.type"] != "":
		case m.Platform == nil:
			if any == nil {
				any = m
			}
		case m.Platform.OS == p.OS && m.Platform.Architecture == p.Architecture && (p.Variant == "" || m.Platform.Variant == "" || m.Platform.Variant == p.Variant):
			return m, true
		}
	}
	return any, any != nil
}
