package layer

import "strings"

// element is one `key` or `key=value` of the option text. Both halves are
// still escaped; quotes around the value are gone.
type element struct {
	key, value string
	hasValue   bool
}

// split cuts option text at commas. A backslash hides the character after it,
// and a value that begins with `"` runs to the next `"` that ends an element:
// SELinux contexts have commas. Empty elements, which containers/storage
// writes, are dropped.
func split(text string) []element {
	var out []element
	for len(text) > 0 {
		var e element
		e, text = next(text)
		if e.key != "" || e.hasValue {
			out = append(out, e)
		}
	}
	return out
}

// next takes the first element off text.
func next(text string) (e element, rest string) {
	i := scan(text, ",=")
	e.key = text[:i]
	if i == len(text) || text[i] == ',' {
		return e, text[min(i+1, len(text)):]
	}
	e.hasValue = true
	text = text[i+1:]
	if strings.HasPrefix(text, `"`) {
		if n := closingQuote(text); n > 0 {
			e.value = text[1:n]
			return e, text[min(n+2, len(text)):]
		}
	}
	i = scan(text, ",")
	e.value = text[:i]
	return e, text[min(i+1, len(text)):]
}

// scan gives the index of the first unescaped character of set, or len(s).
func scan(s, set string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.IndexByte(set, s[i]) >= 0:
			return i
		}
	}
	return len(s)
}

// closingQuote gives the index of the quote that ends the quoted value at the
// start of s: an unescaped one with a comma or nothing after it. 0 means that
// there is none and the opening quote is an ordinary character.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"' && (i+1 == len(s) || s[i+1] == ','):
			return i
		}
	}
	return 0
}

// splitList cuts the value of lowerdir= at unescaped colons. The parts are
// still escaped and may be empty.
func splitList(value string) []string {
	var out []string
	for {
		i := scan(value, ":")
		out = append(out, value[:i])
		if i == len(value) {
			return out
		}
		value = value[i+1:]
	}
}

// unescape takes one level of backslashes off, as overlayfs does: analogous
// to fs/overlayfs/params.c:ovl_unescape(). A backslash at the very end stands
// for itself.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// escape puts a backslash before each backslash, comma and quote, and before
// each character of more.
func escape(s, more string) string {
	special := `\,"` + more
	if !strings.ContainsAny(s, special) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
