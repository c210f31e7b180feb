// Package subnet knows leases: what the cluster's network config says, who holds which subnet, and how a node finds
// a free one. It knows the formats that Weft shares with flannel. It refuses to know devices, routes and how any
// particular store talks; those are in packages backend, network and below subnet.
package subnet
