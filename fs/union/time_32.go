//go:build 386 || arm

package union

func tvSec(s int64) int32   { return int32(s) }
func tvNsec(n uint32) int32 { return int32(n) }
