//go:build !(386 || arm)

package union

func tvSec(s int64) int64   { return s }
func tvNsec(n uint32) int64 { return int64(n) }
