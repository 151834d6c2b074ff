// Package look tests who may look at what a mount does (plyfs stats, top, trace,
// metrics and diff --watch), and that this works for all kinds of mounts: with a
// keeper whose server dies and without one, sandboxes and containers.
package look
