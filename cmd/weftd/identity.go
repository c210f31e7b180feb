package main

import (
	"errors"
	"strings"
)

// machineID is where systemd and D-Bus keep what tells one installation from another (man 5 machine-id).
const machineID = "/etc/machine-id"

// identity is the name by which the node finds its own lease again: the one that it was given, else the host name,
// else, where that is no name at all, the machine-id.
func identity(name string, hostname func() (string, error), readFile func(string) ([]byte, error)) (string, error) {
	if name != "" {
		return name, nil
	}
	if h, err := hostname(); err == nil && h != "" && !strings.HasPrefix(h, "localhost") && h != "(none)" {
		return h, nil
	}
	id, err := readFile(machineID)
	if text := strings.TrimSpace(string(id)); err == nil && text != "" && text != "uninitialized" {
		return text, nil
	}
	return "", errors.New("this node has neither a host name nor a machine-id to be known by; set one with hostnamectl, or give --node-name")
}
