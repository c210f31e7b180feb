// Package kube runs a real Kubernetes cluster on one machine: a control plane (etcd, kube-apiserver, controller manager,
// scheduler), alone in the namespaces of whoever starts it or with nodes that are namespaces of their own, each with
// containerd, a kubelet and kube-proxy. It knows how to build, start, break and end them, and refuses to know what is
// tested or shown on them.
package kube
