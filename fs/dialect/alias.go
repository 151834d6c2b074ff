package dialect

import "unsafe"

// aliasString is b as a string without a copy. The caller promises not to
// change b while the string is in use.
func aliasString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
