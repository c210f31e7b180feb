// Package kube is a subnet.Store on the Node objects of Kubernetes, in flannel's annotations: a node's subnets are its
// pod CIDRs, and what it announces stands beside them. It knows the Kubernetes API, and refuses to know what is done
// with a lease. It chooses no subnets: the cluster's controller manager does.
package kube
