// Package vm runs tests in a virtual machine: Linux 6.1, the oldest kernel that
// we support, with systemd and cgroups of version 2, whatever the machine has on
// which the tests are started. The machine is emulated (QEMU without KVM), so
// it runs anywhere, and slowly: this is `make test-vm` and not part of `make
// test`, which is why the tests are behind the build tag vm.
//
// The host side (this directory) builds a disk once and keeps it, packs the
// binaries into a second one, starts the machine, and reads the results of `go
// test -v` off its serial line. A test that is in a test binary, and of which no
// result has come, has failed. What runs inside is below guest/, and tests of
// other packages that are named in the table of vm_test.go.
package vm
