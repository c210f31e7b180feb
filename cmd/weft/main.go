package main

import (
	"log"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

// version is set by the linker.
var version = "devel"

func main() {
	if err := run(); err != nil {
		_ = err.Print() // the runtime that does not read it has no other ear
		os.Exit(1)
	}
}

// run carries out the command that the environment names, as the CNI asks for it: config on stdin, result on stdout.
func run() *types.Error {
	p := plugin{log: log.New(os.Stderr, "weft: ", 0)}
	return skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add: p.add, Del: p.del, Check: p.check, Status: p.status, GC: p.gc,
	}, cniversion.All, about())
}

// about is what the plugin says of itself when it is run by hand.
func about() string {
	return "weft " + version + ": a CNI plugin, run by a container runtime; the network config that calls it lies in /etc/cni/net.d"
}
