package storetest

import (
	"slices"
	"testing"
)

// Run holds the clusters that newCluster makes to the contract of subnet.Store, each case on a fresh and empty one.
func Run(t *testing.T, newCluster func(t *testing.T) Cluster) {
	t.Helper()
	for _, c := range cases(t, newCluster) {
		t.Run(c.name, func(t *testing.T) { c.run(&bed{T: t, c: newCluster(t)}) })
	}
}

type testcase struct {
	name string
	run  func(*bed)
}

// cases are those that a cluster of this kind can take part in.
func cases(t *testing.T, newCluster func(t *testing.T) Cluster) []testcase {
	list := slices.Concat(claimCases(), watchCases(), outageCases())
	var c Cluster
	t.Run("cluster", func(t *testing.T) { c = newCluster(t) })
	if _, ok := c.(Leasing); ok {
		list = append(list, leasingCases()...)
	}
	if _, ok := c.(Garbling); ok {
		list = append(list, garblingCases()...)
	}
	if _, ok := c.(NamedEntries); ok {
		list = append(list, testcase{"garbage names", garbageNames})
	}
	if _, ok := c.(Forgetful); ok {
		list = append(list, testcase{"history is forgotten", forgotten})
	}
	return list
}
