package main

import "strings"

// target is what a row is to reach: times the time of kernel overlayfs.
type target struct {
	must float64 // cached
	pass float64 // passthrough; 0: as must
}

// targets go by the beginning of a row's name, the longest that fits.
var targets = map[string]target{
	"mount(8) to first answer, 10 ":         {must: 3},
	"mount(8) to first answer, 100":         {must: 2.5},
	"mount(8) to first answer, 300":         {must: 2},
	"stat of files in 5 layers":             {must: 1},
	"stat, every directory in 100":          {must: 0.25},
	"stat, every directory in 300":          {must: 0.05},
	"find, every directory in 100":          {must: 0.25},
	"find, every directory in 300":          {must: 0.1},
	"find, cold":                            {must: 0.8},
	"find, warm":                            {must: 1},
	"look-up of missing names":              {must: 1},
	"open and close, cold":                  {must: 1},
	"open and close, warm":                  {must: 1.2},
	"read of small files":                   {must: 1.3},
	"grep -r, cold":                         {must: 1.2},
	"grep -r, warm":                         {must: 1.3},
	"tar to nothing, cold":                  {must: 1.2},
	"tar to nothing, warm":                  {must: 1.3},
	"4 clients stat and read, cold":         {must: 1.2},
	"4 clients stat and read, warm":         {must: 1.3},
	"git status, cold":                      {must: 1.5},
	"git status, warm":                      {must: 1.2},
	"go build, all cached, cold":            {must: 1.1},
	"go build, all cached, warm":            {must: 1.2},
	"go build -a":                           {must: 1},
	"sequential read, cold":                 {must: 1.2, pass: 1.05},
	"sequential read, warm":                 {must: 1.1, pass: 1.05},
	"read through a mapping, cold":          {must: 1.1},
	"read through a mapping, warm":          {must: 1},
	"random read, 4 KiB":                    {must: 1.5, pass: 1.1},
	"sequential write, 1 MiB":               {must: 1.4},
	"random write, 4 KiB":                   {must: 1.5},
	"write and fsync, 4 KiB":                {must: 1.2},
	"create small files, new directories":   {must: 1.5},
	"create small files, lower directories": {must: 1.3},
	"untar":                                 {must: 1.6},
	"mkdir and rmdir":                       {must: 1.5},
	"delete lower files":                    {must: 1.5},
	"rm -rf of a lower tree, cold":          {must: 1.3},
	"rm -rf of a lower tree, warm":          {must: 1.5},
	"append to lower files":                 {must: 1},
	"rename lower files":                    {must: 0.8},
	"chmod -R of a lower tree":              {must: 0.8},
	"chmod -R of a lower tree, metacopy=on": {must: 1.3},
	"chown -R of a lower tree, metacopy=on": {must: 1.3},
	"first byte written, big lower file":    {must: 0.7},
	"first byte written, sparse lower file": {must: 1.5},
}

// targetOf is what a variant is to reach in a row; 0 for nothing.
func targetOf(row, variant string) float64 {
	best, t := "", target{}
	for prefix, has := range targets {
		if strings.HasPrefix(row, prefix) && len(prefix) > len(best) {
			best, t = prefix, has
		}
	}
	if strings.HasSuffix(variant, " passthrough") && t.pass > 0 {
		return t.pass
	}
	return t.must
}
