package main

import (
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/engine/extension"
	"github.com/weft-network/weft/network/engine/ipsec"
	"github.com/weft-network/weft/network/engine/probe"
	"github.com/weft-network/weft/network/engine/udp"
	"github.com/weft-network/weft/network/engine/wireguard"
)

// engines are all that keep what the kernel does not hold by itself. Their sockets are beside that of weftd.
func engines(o options, log logrus.FieldLogger) []network.Engine {
	dir := "/run/weft"
	if o.socket != "" {
		dir = filepath.Dir(o.socket)
	}
	return []network.Engine{
		udp.New(dir, moverOf("udp", o), log),
		wireguard.New(dir, moverOf("wireguard", o), log),
		probe.New(log),
		ipsec.New(ipsec.Options{Dir: filepath.Join(dir, "ipsec"), Log: log}),
	}
}

// commands runs the operator's own commands, and remembers beside the last known leases which ones it has run.
func commands(o options, log logrus.FieldLogger) *extension.Engine {
	file := ""
	if o.stateDir != "" {
		file = filepath.Join(o.stateDir, "commands.json")
	}
	return extension.New(extension.Options{File: file, Env: os.Environ(), Log: log})
}
