package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/subnet/kube"
)

// machineID is where systemd and D-Bus keep what tells one installation from another (man 5 machine-id).
const machineID = "/etc/machine-id"

// askAgain is how often the Kubernetes API is asked on which node this pod runs, until it answers.
const askAgain = 2 * time.Second

// nodeName is the identity of this node. In Kubernetes it is the name of its Node: a pod that was not told asks the API,
// and waits for it; a kubelet that was not told takes the host name in lower case.
func nodeName(ctx context.Context, o options, stores wire.Stores, log logrus.FieldLogger) (string, error) {
	if !o.kube || o.nodeName != "" {
		return identity(o.nodeName, os.Hostname, os.ReadFile)
	}
	if o.pod[0] == "" || o.pod[1] == "" {
		name, err := identity("", os.Hostname, os.ReadFile)
		return strings.ToLower(name), err
	}
	for told := ""; ; {
		name, err := kube.NodeName(ctx, stores.Kube, o.pod[0], o.pod[1])
		if err == nil {
			return name, nil
		}
		if err.Error() != told {
			told = err.Error()
			log.WithError(err).Warn("waiting for the name of this node; NODE_NAME would give it")
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

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
