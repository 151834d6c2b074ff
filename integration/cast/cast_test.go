package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCommitted: docs/cast.svg is a whole picture, of the session as it is now.
func TestCommitted(t *testing.T) {
	data, err := os.ReadFile("../../docs/cast.svg")
	if err != nil {
		t.Fatal(err)
	}
	shown := text(t, string(data))
	steps, err := parse(session)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.await == prompt && !strings.Contains(shown, s.line) {
			t.Errorf("docs/cast.svg doesn't show %q: run make cast", s.line)
		}
	}
	for _, bad := range []string{"not found", "usage:", "panic", "denied"} {
		if strings.Contains(shown, bad) {
			t.Errorf("docs/cast.svg shows something that failed (%q)", bad)
		}
	}
}

func TestTerminal(t *testing.T) {
	long := strings.Repeat("x", columns+3)
	p := layOut([]event{
		{0, []byte(prompt)},
		{time.Second, []byte("# a <note>\r\n" + long + "\r\n")},
		{time.Hour, []byte(prompt + "true")},
	})
	var got []string
	for _, s := range p.spans {
		got = append(got, s.class+":"+s.text)
	}
	want := []string{"p:❯", "n:# a <note>", ":" + long[:columns], ":xxx", "p:❯", "c:true"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("laid out as %q, want %q", got, want)
	}
	if len(p.begun) != 4 || p.end != 2*longest+2*pause+hold {
		t.Errorf("%d rows, %v long", len(p.begun), p.end)
	}
	if shown := text(t, string(draw(p))); !strings.Contains(shown, "# a <note>") {
		t.Errorf("drawn as %q", shown)
	}
}

// text is what a picture says, and that it is XML.
func text(t *testing.T, svg string) string {
	t.Helper()
	var b strings.Builder
	for d, in := xml.NewDecoder(strings.NewReader(svg)), false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String()
		} else if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case xml.StartElement:
			in = in && v.Name.Local == "animate" || v.Name.Local == "text"
		case xml.EndElement:
			in = in && v.Name.Local == "animate"
		case xml.CharData:
			if in {
				b.Write(v)
			}
		}
	}
}
