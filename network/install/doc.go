// Package install puts on a node what its container runtime needs to make pods: the CNI plugins, and last the network
// configuration that names them. It knows which program is older or newer than another and who made it, what a
// configuration must have, and how to change files so that nobody ever sees half of one. It refuses to know when the
// node is ready for pods: it is told.
package install
