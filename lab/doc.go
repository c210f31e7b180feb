// Package lab builds a cluster of virtual nodes on one machine and looks at it: network namespaces that are joined by
// bridges, a real etcd, the real weftd on each node, pods attached through the real CNI chain. Everything lives in
// namespaces of its own that end with their first process, so a lab needs no root, cannot touch the host and leaves
// nothing behind. It knows how to break things and how to see whether packets pass; it refuses to know how weftd
// does its work.
package lab
