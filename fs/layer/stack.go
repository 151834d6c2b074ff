package layer

// Dir is one layer's root directory.
type Dir struct {
	Path string // as the user gave it; for messages only, never opened again
	FD   int    // O_RDONLY|O_DIRECTORY|O_CLOEXEC; owned by the Stack
	Dev  uint64 // st_dev of the root
	Ino  uint64
}

// Stack is a validated set of layers. It owns its descriptors.
type Stack struct {
	Lower []Dir // top first; never empty
	Upper *Dir  // nil when the mount is read-only
	Work  *Dir  // nil when Upper is
}
