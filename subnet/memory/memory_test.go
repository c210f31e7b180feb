package memory_test

import (
	"errors"
	"testing"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/memory"
	"github.com/weft-network/weft/subnet/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Cluster { return cluster{memory.New()} })
}

// cluster makes what an operator does to a store out of the methods of memory.Cluster.
type cluster struct{ *memory.Cluster }

var (
	_ storetest.Leasing   = cluster{}
	_ storetest.Garbling  = cluster{}
	_ storetest.Forgetful = cluster{}
)

func (c cluster) Store(string) subnet.Store { return c.Cluster.Store() }

func (c cluster) Break() { c.Cluster.Break(errors.New("connection refused")) }

func (c cluster) PutForeign(l subnet.Lease) { c.Put(l) }

func (c cluster) Reserve(l subnet.Lease) { c.Put(l) }

func (c cluster) PutGarbage(s subnet.Subnets, value string) string {
	return c.Damage(s, errors.New("not a lease: "+value))
}
