// Package kernel keeps network devices, addresses, routes, neighbours, forwarding entries and WireGuard's peers as they should
// be. It is the only package that speaks rtnetlink, and with the kernel's WireGuard: it lists what is there, compares, changes, and tells when something
// changed. It knows which objects are Weft's, and refuses to know why they are wanted.
package kernel
