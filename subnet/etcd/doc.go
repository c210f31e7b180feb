// Package etcd is the subnet.Store on etcd v3. It knows flannel's keys and values, how a subnet is claimed so that no
// two nodes ever hold the same one, and how a picture of all leases is kept with one read and one watch. It refuses to
// know what a lease is for. Nobody outside sees an error or a type of the etcd client.
package etcd
