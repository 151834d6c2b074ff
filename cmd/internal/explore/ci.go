package explore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"

	"github.com/plyfs/plyfs/container/image/look"
)

// Rules are dive's, by name, with their values as they are written.
type Rules map[string]string

// ruleNames are in the order in which they are told.
var ruleNames = []string{"lowestEfficiency", "highestWastedBytes", "highestUserWastedPercent"}

// ReadRules gives dive's defaults with what a file says in their place; a file
// that isn't there says nothing, unless it must.
func ReadRules(file string, must bool) (Rules, error) {
	r := Rules{"lowestEfficiency": "0.9", "highestWastedBytes": "disabled", "highestUserWastedPercent": "0.1"}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var doc struct {
		Rules map[string]string `yaml:"rules"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, value := range doc.Rules {
		if err := r.Set(name, value); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return r, nil
}

// Set sets one rule. Dive knows their names in two spellings.
func (r Rules) Set(name, value string) error {
	i := slices.IndexFunc(ruleNames, func(n string) bool { return strings.EqualFold(n, strings.ReplaceAll(name, "-", "")) })
	if i < 0 {
		return fmt.Errorf("unknown rule %q: there are %s", name, strings.Join(ruleNames, ", "))
	}
	if _, err := limit(ruleNames[i], value); err != nil {
		return err
	}
	r[ruleNames[i]] = value
	return nil
}

// off says that a rule is not wanted.
func off(value string) bool {
	return slices.Contains([]string{"", "disabled", "off", "false"}, strings.ToLower(strings.TrimSpace(value)))
}

// limit reads the value of a rule.
func limit(name, value string) (float64, error) {
	if off(value) {
		return 0, nil
	}
	if name == "highestWastedBytes" {
		n, err := humanize.ParseBytes(value)
		if err != nil {
			return 0, fmt.Errorf("rule %s: %q is no size like 20MB", name, value)
		}
		return float64(n), nil
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || f < 0 || f > 1 {
		return 0, fmt.Errorf("rule %s: %q is no number from 0 to 1", name, value)
	}
	return f, nil
}

// Judge prints what the rules say of a stack, and whether it passes.
func (r Rules) Judge(out io.Writer, w *look.Waste) (passed bool) {
	passed = true
	measured := map[string]float64{
		"lowestEfficiency": w.Efficiency, "highestWastedBytes": float64(w.Wasted), "highestUserWastedPercent": w.UserWasted,
	}
	fmt.Fprintf(out, "efficiency: %.4f %%\nwastedBytes: %d bytes (%s)\nuserWastedPercent: %.4f %%\n",
		w.Efficiency*100, w.Wasted, humanize.Bytes(uint64(w.Wasted)), w.UserWasted*100)
	if len(w.Files) > 0 {
		fmt.Fprintf(out, "\n%6s %10s  %s\n", "LAYERS", "BYTES", "PATH")
	}
	for _, f := range w.Files[:min(len(w.Files), 20)] {
		fmt.Fprintf(out, "%6d %10s  %s\n", f.Layers, humanize.Bytes(uint64(f.Bytes)), harmless(f.Path))
	}
	fmt.Fprintln(out)
	for _, name := range ruleNames {
		value := r[name]
		bound, err := limit(name, value)
		m := measured[name]
		switch {
		case err == nil && off(value):
			fmt.Fprintf(out, "SKIP  %s\n", name)
		case err != nil:
			fmt.Fprintf(out, "FAIL  %s: %v\n", name, err)
			passed = false
		case name == "lowestEfficiency" && m < bound:
			fmt.Fprintf(out, "FAIL  %s: the efficiency is %.4f, and should be %s or more\n", name, m, value)
			passed = false
		case name != "lowestEfficiency" && m > bound:
			fmt.Fprintf(out, "FAIL  %s: it is %s, and should be %s or less\n", name, strconv.FormatFloat(m, 'f', -1, 64), value)
			passed = false
		default:
			fmt.Fprintf(out, "PASS  %s\n", name)
		}
	}
	return passed
}
