// Package containers runs containers with the binary: as root, as a user with
// subordinate ids and as one with a single id. Attacks that other runners fell
// to have tests with the number of their CVE in the name.
package containers
