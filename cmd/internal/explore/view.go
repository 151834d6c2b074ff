package explore

import (
	"fmt"
	"os"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/dustin/go-humanize"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container/image/look"
)

// The few looks that there are; a terminal without colours shows the letters.
const (
	plain   = "\x1b[m"
	bold    = "\x1b[1m"
	faint   = "\x1b[2m"
	reverse = "\x1b[7m"
)

var colour = map[byte]string{look.Added: "\x1b[32m", look.Changed: "\x1b[33m", look.Deleted: "\x1b[31m"}

// plainly leaves colours out where they aren't wanted.
func plainly() {
	if !cli.Coloured(os.Stdout) {
		clear(colour)
	}
}

// View draws the whole terminal.
func (m *model) View() tea.View {
	var lines []string
	switch {
	case m.text != nil:
		lines = m.drawText()
	case m.help:
		lines = strings.Split(keysHelp, "\n")
	default:
		lines = m.drawPanes()
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:m.height-1], m.status())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen, v.WindowTitle = true, "plyfs explore"
	return v
}

const keysHelp = `
  tab          layers or files
  up down      choose one; also j k, pgup pgdn, home end
  left right   close and open a directory; space does either
  enter        look into a file; at a changed one, what was changed in it
  v  x         the file; the difference
  /            search names; n N the next and the last one; esc ends it
  t            what one layer does, or all above the lowest together
  u            what is changed alone, or all
  a c d        with added, changed, deleted files, or without
  r            read all again
  ?            this text
  q            the end`

func (m *model) status() string {
	switch {
	case m.typing:
		return bold + "/" + harmless(m.search) + "▏" + plain
	case m.said != "":
		return bold + harmless(m.said) + plain
	case m.text != nil:
		return faint + fmt.Sprintf("line %d of %d · q back", m.top+1, len(m.text)) + plain
	}
	s := "? help · q end · tab " + map[bool]string{true: "layers", false: "files"}[m.files] + " · / search · x difference"
	if m.search != "" {
		s = "/" + harmless(m.search) + " · n next · esc all · " + s
	}
	return faint + s + plain
}

func (m *model) drawText() (lines []string) {
	for i := m.top; i < len(m.text) && len(lines) < m.height-1; i++ {
		l := m.text[i]
		switch {
		case strings.HasPrefix(l, "+"):
			l = colour[look.Added] + l + plain
		case strings.HasPrefix(l, "-"):
			l = colour[look.Deleted] + l + plain
		}
		lines = append(lines, l)
	}
	return lines
}

// drawPanes puts the layers on the left and the files on the right; a narrow
// terminal has room for one of the two.
func (m *model) drawPanes() []string {
	height := m.height - 2
	if m.width < 70 {
		if m.files {
			return append([]string{m.title()}, m.drawFiles(m.width, height)...)
		}
		return append([]string{m.title()}, m.drawLayers(m.width, height)...)
	}
	left := min(m.width*2/5, 60)
	a, b := m.drawLayers(left-1, height), m.drawFiles(m.width-left-2, height)
	lines := []string{m.title()}
	for i := range height {
		l, r := "", ""
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		lines = append(lines, fit(l, left-1)+" "+faint+"│"+plain+" "+r)
	}
	return lines
}

// fit makes a text that wide.
func fit(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}

func (m *model) title() string {
	return bold + harmless(m.st.Name) + plain + faint + "  changes of " + m.where() + plain
}

// window says which of n lines are shown, so that the chosen one is.
func window(at, n, height int) (from, to int) {
	from = max(min(at-height/2, n-height), 0)
	return from, min(from+height, n)
}

func chosen(s string, width int, focus bool) string {
	if focus {
		return reverse + ansi.Strip(fit(s, width)) + plain
	}
	return bold + fit(s, width) + plain
}

func (m *model) drawLayers(width, height int) (lines []string) {
	from, to := window(m.layer, len(m.st.Layers), height)
	for i := from; i < to; i++ {
		l := &m.st.Layers[i]
		by := strings.Join(strings.Fields(l.Command), " ")
		s := fmt.Sprintf("%3d %8s  %s  %s", i+1, humanize.Bytes(uint64(l.Bytes())), harmless(l.Name), harmless(by))
		if i == m.layer {
			s = chosen(s, width, !m.files)
		}
		lines = append(lines, s)
	}
	return lines
}

func (m *model) drawFiles(width, height int) (lines []string) {
	if len(m.rows) == 0 {
		return []string{faint + "nothing to show" + plain}
	}
	from, to := window(m.at, len(m.rows), height)
	for i := from; i < to; i++ {
		s := m.line(m.rows[i])
		if i == m.at {
			s = chosen(s, width, m.files)
		}
		lines = append(lines, s)
	}
	return lines
}

// line is one object of the tree.
func (m *model) line(r row) string {
	n := r.node
	name := harmless(n.Name())
	switch {
	case n.Link != "":
		name += " → " + harmless(n.Link)
	case n.Mode.IsDir() && m.closed[n.Path] && m.search == "" && len(n.Children) > 0:
		name += "/ …"
	case n.Mode.IsDir():
		name += "/"
	}
	s := fmt.Sprintf("%c %s %11s %8s  %s%s", n.Kind, n.Mode, fmt.Sprintf("%d:%d", n.UID, n.GID),
		humanize.Bytes(uint64(n.Bytes())), strings.Repeat("  ", r.depth), name)
	return colour[n.Kind] + s + plain
}
