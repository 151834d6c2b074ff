package image

import (
	"fmt"
	"strings"
)

// Reference is the name of an image, made whole as docker does it.
type Reference struct {
	Host   string // docker.io, localhost:5000, …
	Path   string
	Tag    string
	Digest string // sha256:…; then Tag may be empty
}

// DefaultHost is the registry of short names.
const DefaultHost = "docker.io"

// Parse reads a name: tiny is docker.io/library/tiny:latest.
func Parse(text string) (r Reference, err error) {
	bad := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%.200q is no name of an image: %s", text, why)
	}
	name, digest, has := strings.Cut(text, "@")
	if has {
		if _, err := digestHex(digest); err != nil {
			return bad("what is behind @ is no sha256 digest")
		}
		r.Digest = digest
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, r.Tag = name[:i], name[i+1:]
		odd := func(c rune) bool { return !isLower(c) && (c < 'A' || c > 'Z') && !strings.ContainsRune("._-", c) }
		if r.Tag == "" || len(r.Tag) > 128 || strings.ContainsRune(".-", rune(r.Tag[0])) || strings.ContainsFunc(r.Tag, odd) {
			return bad("the tag has letters, digits and ._- and at most 128 of them")
		}
	} else if !has {
		r.Tag = "latest"
	}
	host, path, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		r.Host, r.Path = host, path
	} else {
		r.Host, r.Path = DefaultHost, name
	}
	switch r.Host {
	case "index.docker.io", "registry-1.docker.io":
		r.Host = DefaultHost
	}
	if r.Host == DefaultHost && !strings.Contains(r.Path, "/") {
		r.Path = "library/" + r.Path
	}
	odd := func(c rune) bool { return !isLower(c) && !strings.ContainsRune(".-:[]", c) && (c < 'A' || c > 'Z') }
	if strings.ContainsFunc(r.Host, odd) {
		return bad("the registry before the first / is no host")
	}
	if len(r.Path) > 255 {
		return bad("it is longer than 255 characters")
	}
	for part := range strings.SplitSeq(r.Path, "/") {
		odd := func(c rune) bool { return !isLower(c) && !strings.ContainsRune("._-", c) }
		if part == "" || strings.ContainsFunc(part, odd) || !isLower(rune(part[0])) || !isLower(rune(part[len(part)-1])) {
			return bad("want lower-case letters and digits, with ._- between them, in parts with / between them")
		}
	}
	return r, nil
}

func isLower(c rune) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// Repository is the name without tag and digest.
func (r Reference) Repository() string { return r.Host + "/" + r.Path }

// String is the whole name.
func (r Reference) String() string { return r.Repository() + r.suffix() }

func (r Reference) suffix() (s string) {
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Familiar is the repository as people write it.
func (r Reference) Familiar() string {
	if r.Host != DefaultHost {
		return r.Repository()
	}
	return strings.TrimPrefix(r.Path, "library/")
}
