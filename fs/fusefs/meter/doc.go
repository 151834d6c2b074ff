// Package meter is the memory in which the server of a mount counts, and in
// which it writes down requests while somebody traces: a memfd that other
// processes of the same user map as well (decision 0096). So looking at a mount
// asks its server nothing, works while that hangs, and costs it nothing while
// nobody looks.
//
//	one page          who serves, who looks until when, what the union counts
//	[Places]Counts    requests by kind and bytes, of each reader
//	[Places]Times     how long requests took, by kind, while somebody looks
//	[Slots]Slot       a ring of the last requests, while somebody traces
//
// The first two take their memory when the meter is made; who looks reserves the
// others first, so that the server never touches what isn't there.
//
// Who looks takes a lease: a time of CLOCK_MONOTONIC until which the server is
// to time its requests, or to write them down. It ends by itself when a looker
// dies. A server that nobody looks at loads two words per request.
//
// There is no lock. A place is in cache lines that other readers don't write. A slot of the ring has a number that is 0 while it is written.
package meter
