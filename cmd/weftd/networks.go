package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/network"
	"github.com/weft-network/weft/network/kernel"
)

// member is one of the networks that the node is part of, and what is its own.
type member struct {
	mark       kernel.Mark
	etcdPrefix string
	subnetFile string
	stateDir   string // "" keeps nothing
	runDir     string // of sockets
	uplink     network.UplinkRules
}

// first is the network that all flags but --network are about.
func (o options) first() member {
	m := member{etcdPrefix: o.etcdPrefix, subnetFile: o.subnetFile, stateDir: o.stateDir, runDir: "/run/weft", uplink: o.uplink}
	if o.socket != "" {
		m.runDir = filepath.Dir(o.socket)
	}
	return m
}

// parseNetworks reads the values of --network, each of one network or, as in an environment variable, of several with spaces between.
// All mistakes are reported at once.
func (o options) parseNetworks() ([]member, error) {
	var all []member
	var errs []error
	first := o.first()
	for _, text := range strings.Fields(strings.Join(o.networks, " ")) {
		m, err := first.parse(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--network %q: %w", text, err))
			continue
		}
		for i, other := range append([]member{first}, all...) {
			if err := m.beside(other, i == 0 && o.kube); err != nil {
				errs = append(errs, fmt.Errorf("--network %q: %w", text, err))
			}
		}
		all = append(all, m)
	}
	if len(all) > 0 && o.kube && !o.etcdGiven {
		errs = append(errs, errors.New("--network needs an etcd, also with --kube-subnet-mgr: the pod CIDRs of Nodes are the first network's; say with --etcd-endpoints where it is"))
	}
	return all, errors.Join(errs...)
}

// parse reads NAME=NUMBER, and after commas what is not as m, the first network, gives it.
func (m member) parse(text string) (member, error) {
	words := strings.Split(text, ",")
	mark, err := wire.ParseMark(words[0])
	if err != nil {
		return m, err
	}
	m.mark = mark
	m.etcdPrefix = strings.TrimRight(m.etcdPrefix, "/") + "-" + mark.Name
	m.subnetFile = filepath.Join(filepath.Dir(m.subnetFile), mark.Name+".env")
	m.runDir = filepath.Join(m.runDir, mark.Name)
	if m.stateDir != "" {
		m.stateDir = filepath.Join(m.stateDir, mark.Name)
	}
	var errs []error
	var ifaces []string
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case value == "":
			errs = append(errs, fmt.Errorf("%q is not a key with a value, such as etcd-prefix=/blue", word))
		case key == "etcd-prefix":
			m.etcdPrefix = value
		case key == "subnet-file":
			m.subnetFile = value
		case key == "iface":
			ifaces = append(ifaces, value)
		default:
			errs = append(errs, fmt.Errorf("key %q is not known; there are etcd-prefix, subnet-file and iface", key))
		}
	}
	if len(ifaces) > 0 {
		m.uplink = network.UplinkRules{Ifaces: ifaces}
	}
	return m, errors.Join(errs...)
}

// beside tells what m has that is another one's, whose store may be elsewhere.
func (m member) beside(other member, elsewhere bool) error {
	who := "the first network"
	if other.mark.Name != "" {
		who = "network " + other.mark.Name
	}
	var errs []error
	if m.mark.Name == other.mark.Name {
		errs = append(errs, fmt.Errorf("the name %s is there twice", m.mark.Name))
	}
	if m.mark.Number == other.mark.Number {
		errs = append(errs, fmt.Errorf("%s has the number %d too", who, m.mark.Number))
	}
	if filepath.Clean(m.subnetFile) == filepath.Clean(other.subnetFile) {
		errs = append(errs, fmt.Errorf("%s has the subnet-file %s too", who, m.subnetFile))
	}
	if !elsewhere && (within(m.etcdPrefix, other.etcdPrefix) || within(other.etcdPrefix, m.etcdPrefix)) {
		errs = append(errs, fmt.Errorf("the etcd-prefix %s and that of %s, %s, are in each other's way", m.etcdPrefix, who, other.etcdPrefix))
	}
	return errors.Join(errs...)
}

// within tells whether keys of a network at prefix could be read as those of one at other.
func within(prefix, other string) bool {
	parts := func(s string) string { return "/" + strings.Trim(s, "/") + "/" }
	p, q := parts(prefix), parts(other)
	return p == q || strings.HasPrefix(p, q+"subnets/") || strings.HasPrefix(p, q+"config/")
}

// agent makes the agent of m. o are the options that all networks have in common, s is where the first one's store is. The caller closes the
// store.
func (m member) agent(o options, all network.Options, s wire.Stores, log logrus.FieldLogger) (*network.Agent, wire.Store, error) {
	if m.mark != (kernel.Mark{}) {
		log = log.WithField("network", m.mark.Name)
		s.Kubernetes, s.Etcd.Prefix, s.Etcd.Logger = false, m.etcdPrefix, log
	}
	store, kind, err := s.Open()
	if err != nil {
		return nil, nil, m.explain(err)
	}
	runs := commands(m, log)
	all.Mark, all.Log, all.Uplink = m.mark, log, m.uplink
	all.Store, all.StoreKind = store, kind
	all.Engines, all.Prepare = append(engines(m, o, log), runs), runs.Prepare
	all.SubnetFile, all.StateFile, all.KeyFile = m.subnetFile, stateFile(m.stateDir), keyFile(m.stateDir)
	agent, err := network.New(all)
	if err != nil {
		store.Close()
		return nil, nil, m.explain(err)
	}
	log.WithFields(logrus.Fields{"version": version, "node": all.Node, "store": kind}).Info("weftd starts")
	return agent, store, nil
}

// explain says which network err is about.
func (m member) explain(err error) error {
	if err == nil || m.mark.Name == "" {
		return err
	}
	return fmt.Errorf("network %s: %w", m.mark.Name, err)
}
