// Package cli is what the commands have in common: exit codes and how errors
// are told, the reading of flags, the version, and output as text or JSON.
//
// Results go to standard output, everything else to standard error. An error
// is one line that begins with the program's name.
package cli
