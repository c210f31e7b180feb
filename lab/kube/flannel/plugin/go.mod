// flannel's CNI plugin, as it was before it moved to a repository that the module proxy does not have. It is a module of
// its own because flanneld needs a newer version of what it is part of.
module github.com/weft-network/weft/lab/kube/flannel/plugin

go 1.26.0

tool github.com/containernetworking/plugins/plugins/meta/flannel

require github.com/containernetworking/plugins v0.9.1

require github.com/containernetworking/cni v0.8.1 // indirect
