package sandbox

import (
	"fmt"
	"io"
	"strings"
)

// Totals are the numbers of a list of changes.
type Totals struct {
	Added    int   `json:"added"`
	Changed  int   `json:"changed"` // replaced ones too
	Deleted  int   `json:"deleted"`
	Bytes    int64 `json:"bytes"` // of new and changed files
	Conflict int   `json:"conflicts"`
	Kept     int   `json:"kept"`
}

// Count adds the changes up.
func Count(changes []Change) (t Totals) {
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case Added:
			t.Added++
		case Deleted:
			t.Deleted++
		default:
			t.Changed++
		}
		if c.Kind != Deleted && c.LinkTo == "" && (c.Kind != Changed || c.has(content)) {
			t.Bytes += c.Size
		}
		if c.Conflict != "" {
			t.Conflict++
		}
		if c.Kept != "" {
			t.Kept++
		}
	}
	return t
}

// String is the totals in words.
func (t Totals) String() string {
	if t == (Totals{}) {
		return "nothing has changed"
	}
	s := fmt.Sprintf("%d added, %d changed, %d deleted, %s", t.Added, t.Changed, t.Deleted, Bytes(t.Bytes))
	if t.Conflict > 0 {
		s += fmt.Sprintf("; %s", plural(t.Conflict, "conflict"))
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Bytes is a number of bytes for people.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/1000, "kMGTP"
	for f >= 999.5 && len(units) > 1 {
		f, units = f/1000, units[1:]
	}
	if f < 10 {
		return fmt.Sprintf("%.1f %cB", f, units[0])
	}
	return fmt.Sprintf("%.0f %cB", f, units[0])
}

// Summary writes the changes a line each, at most max of them (0 is all), and
// their totals.
func Summary(w io.Writer, changes []Change, max int) {
	for i := range changes {
		if max > 0 && i == max && len(changes) > max+1 {
			fmt.Fprintf(w, "… and %d more\n", len(changes)-i)
			break
		}
		fmt.Fprintln(w, changes[i].Line())
	}
	fmt.Fprintln(w, Count(changes))
}

// statWidth is how long the bar of Stat gets.
const statWidth = 40

// Stat writes how much of each file has changed, as git diff --stat does.
func (v *View) Stat(w io.Writer, changes []Change) {
	type row struct {
		name           string
		added, removed int
		note           string
	}
	var rows []row
	widest, most := 0, 1
	for i := range changes {
		c := &changes[i]
		r := row{name: Quote(c.Name())}
		switch {
		case c.Type == "dir" || c.unknown() || c.Kind == Changed && !c.has(content):
			r.note = string(c.Kind)
			if c.Kind == Changed && !c.unknown() {
				r.note = strings.Join(c.What, ", ")
			}
		default:
			var ok bool
			if r.added, r.removed, ok = v.lines(c); !ok {
				r.note = fmt.Sprintf("Bin %d -> %d bytes", c.OldSize, c.Size)
			}
		}
		widest, most = max(widest, len([]rune(r.name))), max(most, r.added+r.removed)
		rows = append(rows, r)
	}
	for _, r := range rows {
		if r.note != "" {
			fmt.Fprintf(w, " %-*s | %s\n", widest, r.name, r.note)
			continue
		}
		n := r.added + r.removed
		plus, minus := r.added, r.removed
		if most > statWidth {
			plus = (r.added*statWidth + most - 1) / most
			minus = (r.removed*statWidth + most - 1) / most
		}
		line := fmt.Sprintf(" %-*s | %d %s%s", widest, r.name, n, strings.Repeat("+", plus), strings.Repeat("-", minus))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(w, " "+Count(changes).String())
}
