package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The annotations of an entry of index.json.
const (
	annName    = "org.opencontainers.image.ref.name"
	annConfig  = "dev.plyfs.config"  // digest of the configuration: the image's id
	annLayers  = "dev.plyfs.layers"  // chain ids, the lowest first
	annOrigin  = "dev.plyfs.digest"  // what a registry calls it
	annCreated = "dev.plyfs.created" // when it came here
	annSize    = "dev.plyfs.size"
	annVirtual = "dev.plyfs.virtual"
	annBoot    = "dev.plyfs.boot"
)

// Entry is one name of an image. An image without a name has an empty one.
type Entry struct {
	Name      string
	MediaType string
	Digest    string // of the manifest
	Size      int64  // of the manifest
	ID        string // digest of the configuration
	Layers    []string
	Origin    string
	Added     time.Time
	Bytes     int64 // of its layers, unpacked
	Platform  Platform
	// Virtual says that some files belong to ids that nobody had when it was
	// unpacked: they are kept as data.
	Virtual bool
	// Boot is the boot of the machine in which it was unpacked, until that is
	// known to be on the disk: after a crash of the machine it may not be.
	Boot string
}

// Platform is what an image runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *Platform         `json:"platform,omitempty"`
}

type indexFile struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

func (s *Store) indexFile() string { return filepath.Join(s.dir, "index.json") }

// List gives all entries, in the order in which they came.
func (s *Store) List() ([]Entry, error) {
	var f indexFile
	if err := readJSON(s.indexFile(), &f); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(f.Manifests))
	for _, d := range f.Manifests {
		a := d.Annotations
		e := Entry{
			Name: a[annName], MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
			ID: a[annConfig], Origin: a[annOrigin], Virtual: a[annVirtual] != "", Boot: a[annBoot],
		}
		if d.Platform != nil {
			e.Platform = *d.Platform
		}
		if l := a[annLayers]; l != "" {
			e.Layers = strings.Split(l, ",")
		}
		e.Added, _ = time.Parse(time.RFC3339Nano, a[annCreated])
		_, _ = fmt.Sscan(a[annSize], &e.Bytes)
		out = append(out, e)
	}
	return out, nil
}

// Update changes the entries. What crashes leave is the old list or the new one.
func (s *Store) Update(change func([]Entry) ([]Entry, error)) error {
	l, err := s.Lock("index.lock")
	if err != nil {
		return err
	}
	defer l.Close()
	old, err := s.List()
	if err != nil {
		return err
	}
	list, err := change(old)
	if err != nil {
		return err
	}
	f := indexFile{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json", Manifests: []descriptor{}}
	for i := range list {
		f.Manifests = append(f.Manifests, list[i].descriptor())
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return writeFile(s.indexFile(), text)
}

func (e *Entry) descriptor() descriptor {
	a := map[string]string{
		annConfig: e.ID, annLayers: strings.Join(e.Layers, ","),
		annCreated: e.Added.UTC().Format(time.RFC3339Nano), annSize: fmt.Sprint(e.Bytes),
	}
	if e.Name != "" {
		a[annName] = e.Name
	}
	if e.Origin != "" {
		a[annOrigin] = e.Origin
	}
	if e.Boot != "" {
		a[annBoot] = e.Boot
	}
	if e.Virtual {
		a[annVirtual] = "1"
	}
	return descriptor{e.MediaType, e.Digest, e.Size, a, &Platform{e.Platform.Architecture, e.Platform.OS, e.Platform.Variant}}
}

// Put gives an image its name. What had it before stays without one, as long as
// it is not the same image.
func Put(list []Entry, e Entry) []Entry {
	kept := list[:0:0]
	for _, o := range list {
		switch {
		case e.Name != "" && o.Name == e.Name && o.ID == e.ID,
			o.Name == "" && o.ID == e.ID:
			continue
		case e.Name != "" && o.Name == e.Name:
			if slices.ContainsFunc(list, func(x Entry) bool { return x.ID == o.ID && x.Name != e.Name }) {
				continue
			}
			o.Name = ""
		}
		kept = append(kept, o)
	}
	if e.Name == "" && slices.ContainsFunc(kept, func(o Entry) bool { return o.ID == e.ID }) {
		return kept
	}
	return append(kept, e)
}

// ErrNotFound is the error of Find.
var ErrNotFound = errors.New("no such image")

// Find finds an image by its name, its id or the beginning of that, or a digest
// that it came by.
func (s *Store) Find(ref string) (*Entry, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	r, nameErr := Parse(ref)
	if nameErr == nil {
		for i := range list {
			e := &list[i]
			if r.Digest == "" && e.Name == r.String() {
				return e, nil
			}
			if r.Digest != "" && (e.Digest == r.Digest || e.Origin == r.Digest) && sameRepository(e, r) {
				return e, nil
			}
		}
	}
	id := strings.TrimPrefix(ref, "sha256:")
	var found *Entry
	for i := range list {
		if e := &list[i]; len(id) >= minID && strings.HasPrefix(strings.TrimPrefix(e.ID, "sha256:"), id) {
			if found != nil && found.ID != e.ID {
				return nil, fmt.Errorf("several images have an id that begins with %s: give more of it", id)
			}
			found = e
		}
	}
	if found == nil {
		if nameErr != nil {
			return nil, nameErr
		}
		return nil, fmt.Errorf("%w: %s; plyfs images lists them, plyfs pull %[2]s gets it", ErrNotFound, ref)
	}
	return found, nil
}

// BootID names this boot of the machine.
func BootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}

// minID keeps a short word from being taken for an id.
const minID = 4

func sameRepository(e *Entry, r Reference) bool {
	o, err := Parse(e.Name)
	return err != nil || o.Repository() == r.Repository()
}
