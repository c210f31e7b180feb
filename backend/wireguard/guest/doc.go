// Package guest holds the tests of the WireGuard backend on a kernel that has WireGuard: what the backend plans is put
// into two namespaces, and packets are sent. They run in a virtual machine, see lab/vm.
package guest
