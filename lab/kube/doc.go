// Package kube runs a real Kubernetes control plane on one machine, for tests: etcd, kube-apiserver and
// kube-controller-manager as processes in the network namespace of whoever starts them. It knows how to build and start
// them, and refuses to know what is tested.
package kube
