package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/fs/layer"
)

// The values of --format that are words.
const (
	FormTable = "table" // for people
	FormJSON  = "json"
)

// Form reads a value of --format: table (or text, or nothing), json, or a
// template, which begins as one or with "table ".
func Form(value string) (string, error) {
	switch {
	case value == "", value == "text":
		return FormTable, nil
	case value == FormTable, value == FormJSON, strings.Contains(value, "{{"):
		return value, nil
	}
	hint := ""
	if near := layer.Nearest(value, []string{FormTable, FormJSON}); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return "", fmt.Errorf("unknown format %q: table, json and a template with {{…}} are there%s", value, hint)
}

// IsTemplate says whether a form is to be printed by PrintList.
func IsTemplate(form string) bool { return !slices.Contains([]string{FormTable, FormJSON}, form) }
