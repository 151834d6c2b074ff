package explore

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/plyfs/plyfs/container/image/look"
)

// model is what is shown. Update changes it, by one key at a time; View draws it.
type model struct {
	st  *look.Stack
	src Source

	width, height int
	files         bool // the files have the keys, not the layers
	help          bool

	layer int  // the chosen one
	since bool // changes since the lowest layer, not of the chosen one alone
	only  bool // what is changed, alone
	kinds string

	root   *look.Node
	rows   []row
	at     int // the chosen row
	closed map[string]bool

	typing bool // a search
	search string
	said   string

	text []string // lines of a file or a difference; nil is none
	top  int      // the first line of it that is shown
}

// row is one line of the tree.
type row struct {
	node  *look.Node
	depth int
}

func newModel(st *look.Stack, src Source) *model {
	m := &model{st: st, src: src, width: 80, height: 24, layer: len(st.Layers) - 1, kinds: "ACD ", closed: map[string]bool{}}
	m.grow()
	return m
}

// Init has nothing to begin with.
func (m *model) Init() tea.Cmd { return nil }

// Update is one key, or another size of the terminal.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 20), max(msg.Height, 6)
	case tea.PasteMsg:
		if m.typing {
			m.search += msg.Content
			m.list()
		}
	case tea.KeyPressMsg:
		m.said = ""
		key := msg.String()
		switch {
		case key == "ctrl+c":
			return m, tea.Quit
		case m.typing:
			m.typed(key, msg.Key().Text)
		case m.text != nil:
			m.paged(key)
		case key == "q":
			return m, tea.Quit
		default:
			m.pressed(key)
		}
	}
	return m, nil
}

// typed is a key while a search is typed.
func (m *model) typed(key, text string) {
	switch key {
	case "enter":
		m.typing, m.files = false, true
		if m.at < len(m.rows) && !m.matches(m.rows[m.at].node) {
			m.next(true)
		}
		return
	case "esc":
		m.typing, m.search = false, ""
	case "backspace":
		if r := []rune(m.search); len(r) > 0 {
			m.search = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.search = ""
	default:
		m.search += text
	}
	m.list()
}

// paged is a key while a text is shown.
func (m *model) paged(key string) {
	page := m.height - 2
	switch key {
	case "q", "esc", "enter", "left", "h":
		m.text = nil
		return
	case "down", "j":
		m.top++
	case "up", "k":
		m.top--
	case "pgdown", "space", "ctrl+f":
		m.top += page
	case "pgup", "ctrl+b":
		m.top -= page
	case "home", "g":
		m.top = 0
	case "end", "G":
		m.top = len(m.text)
	}
	m.top = max(min(m.top, len(m.text)-page), 0)
}

// pressed is a key otherwise.
func (m *model) pressed(key string) {
	switch key {
	case "tab":
		m.files = !m.files
	case "?":
		m.help = !m.help
	case "/":
		m.typing = true
	case "esc":
		m.search, m.help = "", false
		m.list()
	case "n", "N":
		m.next(key == "n")
	case "t":
		m.since = !m.since
		m.grow()
	case "u":
		m.only = !m.only
		m.list()
	case "a", "c", "d":
		m.toggle(strings.ToUpper(key))
	case "r":
		m.reload()
	case "down", "j":
		m.move(1)
	case "up", "k":
		m.move(-1)
	case "pgdown", "ctrl+f":
		m.move(m.height - 4)
	case "pgup", "ctrl+b":
		m.move(4 - m.height)
	case "home", "g":
		m.move(-1 << 30)
	case "end", "G":
		m.move(1 << 30)
	case "space", "left", "right", "h", "l", "enter", "v", "x":
		if m.files && m.at < len(m.rows) {
			m.act(key, m.rows[m.at].node)
		} else if key == "enter" || key == "right" || key == "l" {
			m.files = true
		}
	}
}

// act does something with the chosen object.
func (m *model) act(key string, n *look.Node) {
	switch {
	case key == "v":
		m.show(n)
	case key == "x":
		m.compare(n)
	case n.Mode.IsDir() && key != "h" && key != "left":
		if key == "space" || key == "enter" {
			m.closed[n.Path] = !m.closed[n.Path]
		} else {
			m.closed[n.Path] = false
		}
		m.list()
	case n.Mode.IsDir() && !m.closed[n.Path] && len(n.Children) > 0:
		m.closed[n.Path] = true
		m.list()
	case key == "h" || key == "left": // to the directory that it is in
		for i := m.at; i >= 0; i-- {
			if m.rows[i].depth < m.rows[m.at].depth {
				m.at = i
				break
			}
		}
	case key == "enter" && n.Kind == look.Changed:
		m.compare(n)
	case key == "enter":
		m.show(n)
	}
}

// toggle has one kind of changes shown, or not.
func (m *model) toggle(kind string) {
	if strings.Contains(m.kinds, kind) {
		m.kinds = strings.ReplaceAll(m.kinds, kind, "")
	} else {
		m.kinds += kind
	}
	m.list()
}

func (m *model) move(by int) {
	if m.files {
		m.at = max(min(m.at+by, len(m.rows)-1), 0)
		return
	}
	layer := max(min(m.layer+by, len(m.st.Layers)-1), 0)
	if layer != m.layer {
		m.layer = layer
		m.grow()
	}
}

// next goes to the next object whose name the search is in.
func (m *model) next(forward bool) {
	if m.search == "" {
		m.said = "no search: / begins one"
		return
	}
	step := 1
	if !forward {
		step = -1
	}
	for i := 1; i <= len(m.rows); i++ {
		j := ((m.at+i*step)%len(m.rows) + len(m.rows)) % len(m.rows)
		if m.matches(m.rows[j].node) {
			m.at, m.files = j, true
			return
		}
	}
	m.said = "nothing found"
}

// reload reads all again.
func (m *model) reload() {
	st, err := m.src()
	if err != nil {
		m.said = err.Error()
		return
	}
	m.st, m.layer = st, min(m.layer, len(st.Layers)-1)
	m.grow()
	m.said = "read again"
}

// grow makes the tree of the chosen layer.
func (m *model) grow() {
	from := m.layer
	if m.since {
		from = min(1, m.layer)
	}
	m.root = m.st.Tree(from, m.layer)
	m.list()
}

func (m *model) matches(n *look.Node) bool {
	return strings.Contains(strings.ToLower(n.Path), strings.ToLower(m.search))
}

// list makes the rows of the tree, and keeps the chosen one.
func (m *model) list() {
	was := ""
	if m.at < len(m.rows) {
		was = m.rows[m.at].node.Path
	}
	kinds := m.kinds
	if m.only {
		kinds = strings.ReplaceAll(kinds, " ", "")
	}
	m.rows = m.rows[:0]
	for _, c := range m.root.Children {
		m.branch(c, 0, kinds)
	}
	m.at = max(min(m.at, len(m.rows)-1), 0)
	for i := range m.rows {
		if m.rows[i].node.Path == was {
			m.at = i
		}
	}
}

// branch lists a node and what is below; it takes it back when nothing of that is
// wanted.
func (m *model) branch(n *look.Node, depth int, kinds string) {
	if !n.Has(kinds) {
		return
	}
	start := len(m.rows)
	m.rows = append(m.rows, row{n, depth})
	if m.search != "" || !m.closed[n.Path] {
		for _, c := range n.Children {
			m.branch(c, depth+1, kinds)
		}
	}
	if m.search != "" && len(m.rows) == start+1 && !m.matches(n) {
		m.rows = m.rows[:start]
	}
}

// where says what is compared with what.
func (m *model) where() string {
	if m.since && m.layer > 0 {
		return fmt.Sprintf("layers 2 to %d on the lowest", m.layer+1)
	}
	return fmt.Sprintf("layer %d", m.layer+1)
}
