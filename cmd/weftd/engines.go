package main

import (
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/engine/udp"
)

// engines are all that keep what the kernel does not hold by itself. Their sockets are beside that of weftd.
func engines(o options, log logrus.FieldLogger) []network.Engine {
	dir := "/run/weft"
	if o.socket != "" {
		dir = filepath.Dir(o.socket)
	}
	return []network.Engine{
		udp.New(dir, moverOf("udp", o), log),
	}
}
