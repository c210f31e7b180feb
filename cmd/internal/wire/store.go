package wire

import (
	"io"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd"
	"github.com/weft-network/weft/subnet/kube"
)

// Stores is what a command line says of the store that there shall be.
type Stores struct {
	Kubernetes bool // on Node objects; else in etcd
	Kube       kube.Options
	Etcd       etcd.Options
}

// Store is a store that is closed in the end.
type Store interface {
	subnet.Store
	io.Closer
}

// Open makes the store, and returns the word by which status and log call it. It waits for nothing.
func (s Stores) Open() (store Store, kind string, err error) {
	if s.Kubernetes {
		store, err = kube.New(s.Kube)
		return store, "kubernetes", err
	}
	store, err = etcd.New(s.Etcd)
	return store, "etcd", err
}
