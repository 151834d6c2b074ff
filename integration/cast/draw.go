package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	rows    = 24
	columns = 100

	cell    = 8.4 // pixels of a character
	leading = 19  // and of a line
	margin  = 14

	longest = 700 * time.Millisecond // that nothing happens
	pause   = 900 * time.Millisecond // before a command is typed
	hold    = 5 * time.Second        // at the end
)

// span is text in a line that came at a time.
type span struct {
	row, col int
	at       time.Duration
	text     string
	class    string // of the style sheet
}

// picture is a whole session, laid out as one long page.
type picture struct {
	spans []span
	// scrolls are the times at which a row was begun.
	begun []time.Duration
	end   time.Duration
}

// layOut is a terminal that knows carriage returns and line feeds: all that a
// session at a shell without line editing needs.
func layOut(events []event) picture {
	var p picture
	p.begun = []time.Duration{0}
	row, col, last := 0, 0, time.Duration(0)
	class := ""
	newRow := func() {
		row, col = row+1, 0
		p.begun = append(p.begun, p.end)
	}
	for _, e := range events {
		p.end += min(e.at-last, longest)
		last = e.at
		text := string(e.text)
		for len(text) > 0 {
			switch {
			case strings.HasPrefix(text, prompt):
				p.spans = append(p.spans, span{row, col, p.end, "❯", "p"})
				col, class, text = col+2, "c", text[len(prompt):]
				p.end += pause
			case text[0] == '\r':
				text, col = text[1:], 0
			case text[0] == '\n':
				text, class = text[1:], ""
				newRow()
			default:
				n := strings.IndexAny(text, "\r\n"+prompt[:1])
				if n < 0 {
					n = len(text)
				}
				n = max(n, 1)
				piece := text[:n]
				for utf8.RuneCountInString(piece) > columns-col {
					first := string([]rune(piece)[:columns-col])
					p.spans = append(p.spans, span{row, col, p.end, first, class})
					piece = piece[len(first):]
					newRow()
				}
				p.spans = append(p.spans, span{row, col, p.end, piece, class})
				col += utf8.RuneCountInString(piece)
				text = text[n:]
			}
		}
	}
	p.comments()
	p.end += hold
	return p
}

// comments shows the lines that are comments of the shell as such.
func (p *picture) comments() {
	note := -1
	for i, s := range p.spans {
		if s.class == "c" && s.col == 2 && strings.HasPrefix(s.text, "#") {
			note = s.row
		}
		if s.row == note && s.class == "c" {
			p.spans[i].class = "n"
		}
	}
}

func (p picture) share(at time.Duration) float64 { return float64(at) / float64(p.end) }

// draw makes an animation that runs for ever, and whose last frame is what
// shows where nothing moves.
func draw(p picture) []byte {
	var b bytes.Buffer
	w, h := columns*cell+2*margin, float64(rows*leading+2*margin)
	seconds := p.end.Seconds()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14">
<style>text{fill:#d4d7dd;white-space:pre}.c{fill:#fff;font-weight:bold}.n{fill:#7fb069;font-style:italic}.p{fill:#e0a458}</style>
<rect width="100%%" height="100%%" rx="8" fill="#1c1f26"/>
<svg x="%d" y="%d" width="%.0f" height="%d"><g`, w, h, w, h, margin, margin, columns*cell, rows*leading)
	// The page moves up by a line whenever one more is begun than there is room for.
	over := max(len(p.begun)-rows, 0)
	fmt.Fprintf(&b, " transform=\"translate(0 %d)\">\n", -over*leading)
	if over > 0 {
		values, times := []string{"0 0"}, []string{"0"}
		for i := rows; i < len(p.begun); i++ {
			values = append(values, fmt.Sprintf("0 %d", -(i-rows+1)*leading))
			times = append(times, fmt.Sprintf("%.5f", p.share(p.begun[i])))
		}
		fmt.Fprintf(&b, `<animateTransform attributeName="transform" type="translate" calcMode="discrete" dur="%.2fs" repeatCount="indefinite" values="%s" keyTimes="%s"/>`+"\n",
			seconds, strings.Join(values, ";"), strings.Join(times, ";"))
	}
	for _, s := range p.spans {
		class := ""
		if s.class != "" {
			class = ` class="` + s.class + `"`
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d"%s textLength="%.1f">`, float64(s.col)*cell, s.row*leading+15, class, float64(utf8.RuneCountInString(s.text))*cell)
		_ = xml.EscapeText(&b, []byte(s.text))
		if s.at > 0 {
			fmt.Fprintf(&b, `<animate attributeName="opacity" calcMode="discrete" dur="%.2fs" repeatCount="indefinite" values="0;1" keyTimes="0;%.5f"/>`, seconds, p.share(s.at))
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</g></svg></svg>\n")
	return b.Bytes()
}
