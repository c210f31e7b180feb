package backend

import "github.com/weft-network/weft/network/kernel"

// Preparer is a backend that can announce a node only after a command has been run there.
type Preparer interface {
	// Prepare is the command whose output the backend finds as Prepared in its Node. It is run once before Attrs is called for the
	// first time, and again if it becomes another. Nothing is run where its Run is "".
	Prepare() kernel.Command
}
