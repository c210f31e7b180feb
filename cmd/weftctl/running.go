package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// agentProcess is an agent that runs in this network namespace.
type agentProcess struct {
	name string
	pid  int
}

// runningAgents looks through proc for agents that keep the network namespace of this process. Processes that come, go or may
// not be looked at are passed over.
func runningAgents(proc string) ([]agentProcess, error) {
	own, err := os.Readlink(filepath.Join(proc, "self/ns/net"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var agents []agentProcess
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue
		}
		switch a := (agentProcess{strings.TrimSpace(string(name)), pid}); a.name {
		case "weftd", "flanneld":
			if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err == nil && ns == own {
				agents = append(agents, a)
			}
		}
	}
	return agents, nil
}
