package explore

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/plyfs/plyfs/container/image/look"
)

// maxText is how much of a file is shown.
const maxText = 1 << 20

// harmless writes what would be no text on a terminal as its escape.
func harmless(s string) string {
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// read reads a file of a layer, or says why it isn't text.
func (m *model) read(layer int, n *look.Node) (string, error) {
	if layer < 0 {
		return "", nil
	}
	f, err := m.st.Layers[layer].Open(n.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
		return "", fmt.Errorf("%s is no text", harmless(n.Path))
	}
	if len(b) > maxText {
		return string(b[:maxText]) + "\n…", nil
	}
	return string(b), nil
}

// show shows a file.
func (m *model) show(n *look.Node) {
	switch {
	case n.Mode&fs.ModeSymlink != 0:
		m.said = harmless(n.Path) + " leads to " + harmless(n.Link)
		return
	case !n.Mode.IsRegular():
		m.said = harmless(n.Path) + " is no file"
		return
	}
	layer := n.Layer
	if n.Kind == look.Deleted {
		layer = n.Below
	}
	text, err := m.read(layer, n)
	if err != nil {
		m.said = err.Error()
		return
	}
	m.page(text)
}

// compare shows what was changed in a file.
func (m *model) compare(n *look.Node) {
	if !n.Mode.IsRegular() {
		m.said = harmless(n.Path) + " is no file"
		return
	}
	before, after := n.Below, n.Layer
	switch n.Kind {
	case look.Same:
		m.said = harmless(n.Path) + " is not changed by " + m.where()
		return
	case look.Deleted:
		after = -1
	case look.Added:
		before = -1
	}
	old, err := m.read(before, n)
	if err == nil {
		var now string
		if now, err = m.read(after, n); err == nil {
			text := string(diff.Diff("a"+n.Path, []byte(old), "b"+n.Path, []byte(now)))
			if text == "" {
				text = "the content is the same\n"
			}
			m.page(text)
			return
		}
	}
	m.said = err.Error()
}

func (m *model) page(text string) {
	m.text, m.top = []string{}, 0
	for line := range strings.Lines(text) {
		m.text = append(m.text, harmless(strings.TrimRight(line, "\n")))
	}
	if len(m.text) == 0 {
		m.text = append(m.text, "(empty)")
	}
}
