package backend

// Alias is a backend that nodes announce under another type than the one that the config names.
type Alias interface {
	// Kind is the type that nodes announce.
	Kind() string
}

// KindOf returns the type under which nodes announce b, which the config names kind.
func KindOf(kind string, b Backend) string {
	if a, ok := b.(Alias); ok {
		return a.Kind()
	}
	return kind
}

// Trying is a backend that has paths tried (kernel.Probe), and uses those that Node.Works has.
type Trying interface {
	Tries() bool
}

// Tries tells whether b has paths tried.
func Tries(b Backend) bool {
	t, ok := b.(Trying)
	return ok && t.Tries()
}
