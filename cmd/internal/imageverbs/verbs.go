// Package imageverbs is what the verbs about images look like: their flags and
// their help. plyfs knows them by it without what the verbs themselves need, which
// is in plyfs-image (package images).
package imageverbs

import "github.com/plyfs/plyfs/cmd/internal/cli"

// Verb is how a verb is called.
type Verb struct {
	Usage string
	Spec  cli.Spec
}

// Of is the verb of a name; one that isn't there has no usage.
func Of(name string) Verb {
	v := verbs()[name]
	v.Spec.Short += "h"
	v.Spec.Long = append(v.Spec.Long, "help", "root=")
	return v
}

func verbs() map[string]Verb {
	return map[string]Verb{
		"pull":      {pullUsage, cli.Spec{Short: "q", Long: []string{"quiet", "platform=", "max-size=", "max-entries="}}},
		"push":      {pushUsage, cli.Spec{Short: "q", Long: []string{"quiet"}}},
		"load":      {loadUsage, cli.Spec{Short: "qi:", Long: []string{"quiet", "input=", "platform=", "max-size=", "max-entries="}}},
		"save":      {saveUsage, cli.Spec{Short: "o:", Long: []string{"output=", "format="}}},
		"import":    {importUsage, cli.Spec{Short: "m:c:q", Long: []string{"quiet", "message=", "change=", "platform=", "bootstrap", "max-size=", "max-entries="}}},
		"images":    {imagesUsage, cli.Spec{Short: "aq", Long: []string{"all", "quiet", "digests", "no-trunc", "format="}}},
		"rmi":       {rmiUsage, cli.Spec{Short: "f", Long: []string{"force"}}},
		"tag":       {tagUsage, cli.Spec{}},
		"history":   {historyUsage, cli.Spec{Short: "q", Long: []string{"quiet", "no-trunc", "format="}}},
		"image":     {imageUsage, cli.Spec{Leading: true}},
		"inspect":   {inspectUsage, cli.Spec{Long: []string{"format="}}},
		"prune":     {pruneUsage, cli.Spec{Short: "af", Long: []string{"all", "force"}}},
		"prune-all": {systemUsage, cli.Spec{Short: "af", Long: []string{"all", "force"}}},
		"system":    {systemUsage, cli.Spec{Leading: true}},
		"df":        {systemUsage, cli.Spec{Long: []string{"format="}}},
		"check":     {systemUsage, cli.Spec{Long: []string{"repair"}}},
		"repair":    {repairUsage, cli.Spec{}},
		"commit":    {commitUsage, cli.Spec{Short: "a:m:c:pq", Long: []string{"author=", "message=", "change=", "pause", "no-pause", "quiet"}}},
		"tree":      {treeUsage, cli.Spec{Short: "a", Long: []string{"all", "format="}}},
		"explore": {exploreUsage, cli.Spec{Long: []string{
			"ci", "ci-config=", "lowestEfficiency=", "highestWastedBytes=", "highestUserWastedPercent=", "name=", "platform=",
		}}},
	}
}
