// Command plyfs-image does what plyfs has to do with images beyond starting
// containers from them: registries, archives, unpacking. plyfs executes it for
// these verbs, so that what they need (a network stack, TLS, decompressors) is
// not linked into the start of every container.
package main

import "github.com/plyfs/plyfs/cmd/internal/images"

func main() { images.Main() }
