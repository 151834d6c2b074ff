package cli

import (
	"encoding/json"
	"io"
)

// PrintJSON writes v for people and programs: indented, and with < and & as
// they are.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
