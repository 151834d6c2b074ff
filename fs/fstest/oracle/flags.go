package oracle

import (
	"strings"

	"golang.org/x/sys/unix"
)

type flagName struct {
	bit  int
	name string
}

func flagText(flags int, zero string, table []flagName) string {
	var parts []string
	for _, f := range table {
		if flags&f.bit != 0 {
			parts = append(parts, f.name)
		}
	}
	if len(parts) == 0 {
		return zero
	}
	return strings.Join(parts, "|")
}

func openFlags(flags int) string {
	return flagText(flags, "O_RDONLY", []flagName{
		{unix.O_WRONLY, "O_WRONLY"},
		{unix.O_RDWR, "O_RDWR"},
		{unix.O_EXCL, "O_EXCL"},
		{unix.O_TRUNC, "O_TRUNC"},
		{unix.O_APPEND, "O_APPEND"},
	})
}

func renameFlags(flags int) string {
	return flagText(flags, "0", []flagName{
		{unix.RENAME_NOREPLACE, "NOREPLACE"},
		{unix.RENAME_EXCHANGE, "EXCHANGE"},
		{unix.RENAME_WHITEOUT, "WHITEOUT"},
	})
}
