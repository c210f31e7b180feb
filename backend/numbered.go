package backend

// Numbered is a Backend whose ports others on the same node may have as well, because a number in the packets tells whose these
// are.
type Numbered interface {
	Number() uint32
}
