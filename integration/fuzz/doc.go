// Package fuzz runs every fuzz target of the module for a bounded number of
// executions, or for as long as PLYFS_FUZZ says. What a target finds is left
// beside it, in testdata/fuzz, to be committed with the fix.
package fuzz
