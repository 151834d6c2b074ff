package images

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/imageverbs"
	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/ship"
)

// imageLine is an image as images shows it; the names are docker's.
type imageLine struct {
	Repository, Tag, Digest, ID, CreatedAt, CreatedSince, Size, Platform string
}

func images(c *call) error {
	s := image.Open(c.root)
	list, err := s.List()
	if err != nil {
		return err
	}
	var want image.Reference
	if len(c.rest) > 0 {
		ref, err := c.one("a name")
		if err != nil {
			return err
		}
		if want, err = image.Parse(ref); err != nil {
			return err
		}
		if !strings.Contains(ref[strings.LastIndexByte(ref, '/')+1:], ":") {
			want.Tag = ""
		}
	}
	sh := &ship.Shipper{Store: s}
	var lines []imageLine
	for _, e := range slices.Backward(list) {
		l := imageLine{Repository: "<none>", Tag: "<none>", Digest: "<none>", ID: short(e.ID), Size: humanSize(e.Bytes)}
		if r, err := image.Parse(e.Name); e.Name != "" && err == nil {
			if want.Path != "" && (r.Repository() != want.Repository() || want.Tag != "" && want.Tag != r.Tag) {
				continue
			}
			l.Repository, l.Tag = r.Familiar(), r.Tag
		} else if want.Path != "" {
			continue
		}
		if c.has("no-trunc") {
			l.ID = e.ID
		}
		if e.Origin != "" {
			l.Digest = e.Origin
		}
		l.Platform = e.Platform.OS + "/" + e.Platform.Architecture
		if cfg, err := sh.ReadConfig(&e); err == nil && cfg.Created != nil {
			l.CreatedAt, l.CreatedSince = cfg.Created.Format(time.RFC3339), since(*cfg.Created)
		}
		lines = append(lines, l)
	}
	if c.has("q", "quiet") {
		var seen []string
		for _, l := range lines {
			if !slices.Contains(seen, l.ID) {
				seen = append(seen, l.ID)
				fmt.Println(l.ID)
			}
		}
		return nil
	}
	table := "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	if c.has("digests") {
		table = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	}
	return cli.PrintList(os.Stdout, c.value("table", "format"), table,
		map[string]string{"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}, lines)
}

// since is docker's way to say how long ago something was.
func since(t time.Time) string {
	d := time.Since(t)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"years", 365 * 24 * time.Hour}, {"months", 30 * 24 * time.Hour}, {"weeks", 7 * 24 * time.Hour}, {"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if d >= 2*u.size {
			return fmt.Sprintf("%d %s ago", d/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d seconds ago", max(d/time.Second, 0))
}

type historyLine struct{ ID, CreatedAt, CreatedSince, CreatedBy, Size, Comment string }

func history(c *call) error {
	ref, err := c.one("an image")
	if err != nil {
		return err
	}
	s := &ship.Shipper{Store: image.Open(c.root)}
	e, err := s.Store.Find(ref)
	if err != nil {
		return err
	}
	steps, err := s.History(e)
	if err != nil {
		return err
	}
	var lines []historyLine
	for _, st := range slices.Backward(steps) {
		l := historyLine{ID: "<none>", CreatedBy: strings.ReplaceAll(st.CreatedBy, "\t", " "), Size: humanSize(st.Bytes), Comment: st.Comment}
		if st.Chain != "" {
			l.ID = short(st.Chain)
		}
		if st.Created != nil {
			l.CreatedAt, l.CreatedSince = st.Created.Format(time.RFC3339), since(*st.Created)
		}
		if !c.has("no-trunc") && len(l.CreatedBy) > 45 {
			l.CreatedBy = strings.ToValidUTF8(l.CreatedBy[:44], "") + "…"
		}
		if c.has("q", "quiet") {
			fmt.Println(l.ID)
		}
		lines = append(lines, l)
	}
	if c.has("q", "quiet") {
		return nil
	}
	return cli.PrintList(os.Stdout, c.value("table", "format"),
		"table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
		map[string]string{"ID": "LAYER", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "CreatedAt": "CREATED AT"}, lines)
}

// imageDetails has docker's names.
type imageDetails struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Manifest     string
	Created      string
	Author       string
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	Config       ocispec.ImageConfig
	RootFS       struct {
		Type   string
		Layers []string
	}
	ChainIDs []string
	History  []ocispec.History
}

func inspect(c *call) error {
	if len(c.rest) == 0 {
		return fmt.Errorf("no image given")
	}
	s := &ship.Shipper{Store: image.Open(c.root)}
	var all []imageDetails
	for _, ref := range c.rest {
		e, err := s.Store.Find(ref)
		if err != nil {
			return err
		}
		cfg, err := s.ReadConfig(e)
		if err != nil {
			return err
		}
		d := imageDetails{
			ID: e.ID, RepoTags: []string{}, RepoDigests: []string{}, Manifest: e.Digest, Author: cfg.Author, Architecture: cfg.Architecture,
			Variant: cfg.Variant, Os: cfg.OS, Size: e.Bytes, Config: cfg.Config, ChainIDs: e.Layers, History: cfg.History,
		}
		if cfg.Created != nil {
			d.Created = cfg.Created.Format(time.RFC3339Nano)
		}
		d.RootFS.Type = "layers"
		for _, l := range cfg.RootFS.DiffIDs {
			d.RootFS.Layers = append(d.RootFS.Layers, l.String())
		}
		list, err := s.Store.List()
		if err != nil {
			return err
		}
		for _, o := range list {
			r, err := image.Parse(o.Name)
			if o.ID != e.ID || o.Name == "" || err != nil {
				continue
			}
			d.RepoTags = append(d.RepoTags, r.Familiar()+":"+r.Tag)
			if o.Origin != "" {
				d.RepoDigests = append(d.RepoDigests, r.Familiar()+"@"+o.Origin)
			}
		}
		all = append(all, d)
	}
	format := c.value("", "format")
	if format == "" || format == "json" {
		return cli.PrintJSON(os.Stdout, all)
	}
	return cli.PrintList(os.Stdout, format, "", nil, all)
}

func imageVerb(c *call) error {
	return family(c, map[string]string{
		"ls": "images", "list": "images", "pull": "pull", "push": "push", "load": "load", "save": "save", "import": "import",
		"rm": "rmi", "tag": "tag", "history": "history", "inspect": "inspect", "prune": "prune", "tree": "tree",
	}, imageverbs.Of("image").Usage)
}

// family is a verb that stands before others.
func family(c *call, names map[string]string, usage string) error {
	if len(c.rest) == 0 {
		fmt.Print(usage)
		return cli.Silent(cli.ExitFailure)
	}
	name, ok := names[c.rest[0]]
	if !ok {
		return fmt.Errorf("unknown verb %q: there are %s", c.rest[0], strings.Join(sortedKeys(names), ", "))
	}
	os.Setenv("PLYFS_ROOT", c.root)
	return start(name, c.rest[1:])
}

func sortedKeys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
