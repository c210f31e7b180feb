// Package storetest is the contract of subnet.Store as tests: one suite that runs against the store in memory and
// the real ones alike. It knows what a node may rely on and what an operator can do to a cluster; it refuses to know
// where a store keeps things.
package storetest
