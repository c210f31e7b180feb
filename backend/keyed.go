package backend

// Keyed is a backend that needs Node.WireGuardKey.
type Keyed interface {
	NeedsKey() bool
}

// NeedsKey tells whether b needs Node.WireGuardKey.
func NeedsKey(b Backend) bool {
	k, ok := b.(Keyed)
	return ok && k.NeedsKey()
}
