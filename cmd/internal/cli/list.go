package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
)

// functions are docker's.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
	"join":  strings.Join,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"split": strings.Split,
}

// PrintList prints rows as format says: "table" is the given table, "json" one
// object per line, a template is executed for each, and one after "table " gets
// aligned columns with a header. headers name the columns whose header isn't the
// field's name.
func PrintList[T any](w io.Writer, format, table string, headers map[string]string, rows []T) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	if format == "table" {
		format = table
	}
	text, aligned := strings.CutPrefix(format, "table ")
	t, err := template.New("format").Funcs(functions).Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text) + "\n")
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	if aligned {
		tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
		defer tw.Flush()
		w = tw
		if err := t.Execute(w, header[T](headers)); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
	}
	for _, r := range rows {
		if err := t.Execute(w, r); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
	}
	return nil
}

// header is a row of names.
func header[T any](names map[string]string) map[string]string {
	out := map[string]string{}
	for f := range reflect.TypeFor[T]().Fields() {
		out[f.Name] = fmt.Sprint(strings.ToUpper(f.Name))
		if n, ok := names[f.Name]; ok {
			out[f.Name] = n
		}
	}
	return out
}
