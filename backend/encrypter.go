package backend

// Encrypter is a backend whose packets nobody on the way can read.
type Encrypter interface {
	// Encrypted returns the names of the devices by which it sends packets to pods of other nodes. Such packets leave by
	// another device in plain text, which must not happen.
	Encrypted() []string
}
