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

// engines are all that keep what the kernel does not hold by itself, for one network. Their sockets are beside that of weftd.
func engines(m member, o options, log logrus.FieldLogger) []network.Engine {
	return []network.Engine{
		udp.New(m.runDir, moverOf("udp", o), log),
		wireguard.New(m.runDir, moverOf("wireguard", o), log),
		probe.New(log),
		ipsec.New(ipsec.Options{Dir: filepath.Join(m.runDir, "ipsec"), Log: log}),
	}
}

// commands runs the operator's own commands, and remembers beside the last known leases which ones it has run.
func commands(m member, log logrus.FieldLogger) *extension.Engine {
	file := ""
	if m.stateDir != "" {
		file = filepath.Join(m.stateDir, "commands.json")
	}
	return extension.New(extension.Options{File: file, Env: os.Environ(), Log: log})
}
