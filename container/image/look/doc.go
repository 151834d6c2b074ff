// Package look shows what the layers of an image or a container do: each is read
// as a list of entries, from a directory in the form of a union filesystem
// ([Dir]) or from a tar stream ([Tar]), and a [Stack] of them gives the tree of
// files at any layer, with what was added, changed and deleted since another
// one, and dive's measures of waste.
//
// It only reads. Names and contents are those of somebody else: who shows them
// makes them harmless first.
package look
