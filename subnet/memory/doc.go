// Package memory is a store in a map: a cluster inside one process, for tests and for trying things out. It keeps
// the contract of subnet.Store, loses connections and leases when it is told to, and knows nothing of formats: what
// other stores have to parse, and what may be damaged there, is put in as it is.
package memory
