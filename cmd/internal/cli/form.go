package cli

import (
	"fmt"
	"slices"
	"strings"
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
	return "", fmt.Errorf("unknown format %q: table, json and a template with {{…}} are there", value)
}

// IsTemplate says whether a form is to be printed by PrintList.
func IsTemplate(form string) bool { return !slices.Contains([]string{FormTable, FormJSON}, form) }
