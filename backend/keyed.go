package backend

// Keyed is a backend that needs Node.WireGuardKey.
type Keyed interface {
	NeedsKey() bool
}

// Rotating is a Keyed backend that can be there twice on a node, with a key for each, while the one takes the place of the other.
type Rotating interface {
	Keyed
	Renamer
	// Beside returns the same backend at other ports. They follow from the config, so that they are the same on every node.
	Beside() Backend
}

// NeedsKey tells whether b needs Node.WireGuardKey.
func NeedsKey(b Backend) bool {
	k, ok := b.(Keyed)
	return ok && k.NeedsKey()
}
