package index

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// feed adds what a layer has.
func feed(b *Builder, layer uint16, lines []string) {
	b.Layer(layer)
	for _, l := range lines {
		switch kind, name := l[0], l[1:]; kind {
		case 'w':
			b.Whiteout(name)
		case 'h':
			b.Hide(name)
		case 'd':
			b.Entry(name, dtDir, uint64(layer)*100+uint64(name[0]))
		default:
			b.Entry(name, dtReg, uint64(layer)*100+uint64(name[0]))
		}
	}
}

func show(d *Dir) (lines []string) {
	d.Sort()
	d.All(func(e *Entry, name string) bool {
		l := fmt.Sprint(name, " ", e.Visible())
		if e.Visible() {
			l += fmt.Sprint(" ", e.Type(), " ", e.Ino, " ", e.HasLower())
		}
		if e.HasLower() {
			l += fmt.Sprint(" ", e.Layer)
		}
		if e.Lower == dtDir {
			l += fmt.Sprint(" ", d.Below(e, nil))
		}
		lines = append(lines, l)
		return true
	})
	slices.Sort(lines)
	d.Walk(0, func(_ *Entry, name string, next uint64) bool {
		lines = append(lines, fmt.Sprint(name, next))
		return true
	})
	return lines
}

// TestOverlay: an upper on lowers that are merged already is the same as all
// merged at once, and the merged lowers stay what they are.
func TestOverlay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"w", "h", "d", "f"}).Draw(t, "kind") + rapid.SampledFrom([]string{"a", "b", "c", "e", "g"}).Draw(t, "name")
		})
		// A layer has a name once, but for what hides it below.
		layers := rapid.SliceOfN(rapid.SliceOfNDistinct(entry, 0, 6, func(e string) string {
			if e[0] == 'h' {
				return e
			}
			return e[1:]
		}), 2, 4).Draw(t, "layers")
		whole, lower := NewBuilder(), NewBuilder()
		for i, l := range layers {
			feed(whole, uint16(i), l)
			if i > 0 {
				feed(lower, uint16(i), l)
			}
		}
		base := lower.Done()
		before := show(base)
		over := NewOverlay(base)
		feed(over, 0, layers[0])
		got := over.Done()
		if want := show(whole.Done()); !slices.Equal(show(got), want) {
			t.Fatalf("overlay\n%v\nwhole\n%v", show(got), want)
		}
		if (got == base) != (len(layers[0]) == 0) {
			t.Fatalf("the lowers' own directory is the answer: %v", got == base)
		}
		got.Clone().Add("new").Upper = dtReg
		if !slices.Equal(show(base), before) {
			t.Fatal("the lowers have changed")
		}
		if got.Find("new") != nil {
			t.Fatal("a clone is no copy")
		}
	})
}

// TestPositions: every entry has a number of its own.
func TestPositions(t *testing.T) {
	var d Dir
	for i := range 100 {
		d.Add(fmt.Sprint(i)).Upper = dtReg
	}
	seen := map[int]bool{}
	for i := range 100 {
		seen[d.Position(d.Find(fmt.Sprint(i)))] = true
	}
	if len(seen) != 100 || d.Positions() != 100 || !seen[0] || !seen[99] {
		t.Errorf("%d numbers of %d", len(seen), d.Positions())
	}
}
