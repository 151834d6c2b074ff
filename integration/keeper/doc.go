// Package keeper kills the servers of mounts while programs work in them, and
// looks that none of them notices anything but a pause.
package keeper
