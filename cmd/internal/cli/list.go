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

// header is a row of names. Fields of embedded structs are like the row's own;
// those of a field that is a struct are below its name, as in the template.
func header[T any](names map[string]string) map[string]any {
	return headerOf(reflect.TypeFor[T](), names)
}

func headerOf(t reflect.Type, names map[string]string) map[string]any {
	out := map[string]any{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || len(f.Index) > 1 && !f.IsExported() {
			continue
		}
		out[f.Name] = strings.ToUpper(f.Name)
		if n, ok := names[f.Name]; ok {
			out[f.Name] = n
		}
		_, prints := reflect.New(f.Type).Interface().(fmt.Stringer)
		if f.Type.Kind() == reflect.Struct && !prints {
			out[f.Name] = headerOf(f.Type, names)
		}
	}
	return out
}
