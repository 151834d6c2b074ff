package harness

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// Namespace is where a script runs.
type Namespace int

// The namespaces.
const (
	NoNamespace Namespace = iota
	SubIDs                // user, mount and pid namespaces; root is the user, and 65535 subordinate ids are mapped
	SingleID              // the same with one id only
)

func (ns Namespace) String() string {
	switch ns {
	case SubIDs:
		return " in a user namespace with subordinate ids"
	case SingleID:
		return " in a user namespace of one id"
	default:
		return ""
	}
}

// Require says what the namespace needs.
func (ns Namespace) Require(t testing.TB) {
	t.Helper()
	if ns != NoNamespace {
		require.UserNS(t)
		require.Tool(t, "unshare")
	}
	if ns == SubIDs {
		require.Tool(t, "newuidmap")
	}
}

// command is the prefix that puts a command into the namespace. The pid
// namespace ends every process of a script with the script.
func (ns Namespace) command() []string {
	switch ns {
	case SubIDs:
		return []string{"unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	case SingleID:
		return []string{"unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	default:
		return nil
	}
}
