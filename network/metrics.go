package network

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics reads the agent's state when somebody asks; nothing is counted twice.
type metrics struct {
	a        *Agent
	registry *prometheus.Registry
	descs    map[string]*prometheus.Desc
}

// metricHelp documents every metric. Documentation/running.md lists the same.
var metricHelp = map[string]struct {
	help   string
	labels []string
}{
	"weft_ready":                                 {"1 while the node is ready for pods, as /readyz says.", nil},
	"weft_peers_wanted":                          {"Peers that the store lists.", nil},
	"weft_peers_programmed":                      {"Peers that the kernel serves.", nil},
	"weft_peers_by_way":                          {"Peers by the way in which they are reached: the backend, and what both nodes agreed to.", []string{"way"}},
	"weft_transition":                            {"1 while the backend changes and a former one is still in place.", nil},
	"weft_kernel_objects":                        {"Objects that the kernel should hold, by kind.", []string{"kind"}},
	"weft_kernel_changes_total":                  {"Objects made, changed or deleted in the kernel, by kind.", []string{"kind"}},
	"weft_kernel_repairs_total":                  {"Changes that put right what somebody else had broken, by kind.", []string{"kind"}},
	"weft_kernel_in_step":                        {"1 while the last pass left nothing different from what is wanted, and the store has said nothing new since.", nil},
	"weft_pass_seconds":                          {"How long the last pass over the kernel took.", nil},
	"weft_last_pass_timestamp_seconds":           {"When the last pass over the kernel ended, Unix time.", nil},
	"weft_store_connected":                       {"1 while the store answers.", nil},
	"weft_store_last_answer_timestamp_seconds":   {"When the store last answered, Unix time; its age is time() minus this.", nil},
	"weft_store_errors_total":                    {"Requests to the store that failed.", nil},
	"weft_store_faults":                          {"Entries of the store that cannot be read.", nil},
	"weft_lease_expiry_timestamp_seconds":        {"When the lease would end if it were renewed no more, Unix time; absent where it does not expire.", nil},
	"weft_wireguard_handshake_timestamp_seconds": {"When both sides agreed on keys last, Unix time, by peer and device; absent for never.", []string{"peer", "device"}},
	"weft_wireguard_received_bytes_total":        {"Bytes that came from a peer, by peer and device.", []string{"peer", "device"}},
	"weft_wireguard_sent_bytes_total":            {"Bytes that were sent to a peer, by peer and device.", []string{"peer", "device"}},
	"weft_wireguard_rotation_missing_peers":      {"Peers that have not followed a change of this node's private key that is under way; absent where none is.", nil},
	"weft_udp_dropped_packets_total":             {"Packets that the process of backend udp dropped, by device and reason.", []string{"device", "reason"}},
	"weft_peer_direct":                           {"1 while a peer is reached without the tunnel, where that is tried, by peer and address family.", []string{"peer", "family"}},
	"weft_peer_direct_falls_total":               {"How often the path to a peer without the tunnel has stopped to work, by peer and address family.", []string{"peer", "family"}},
	"weft_firewall_in_step":                      {"1 while the firewall rules are as wanted.", nil},
}

func newMetrics(a *Agent) *metrics {
	m := &metrics{a: a, registry: prometheus.NewRegistry(), descs: map[string]*prometheus.Desc{}}
	var network prometheus.Labels // the first one's metrics have none
	if a.o.Mark.Name != "" {
		network = prometheus.Labels{"network": a.o.Mark.Name}
	}
	for name, d := range metricHelp {
		m.descs[name] = prometheus.NewDesc(name, d.help, d.labels, network)
	}
	m.registry.MustRegister(m)
	return m
}

// Describe sends what can be collected.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect sends the values of this moment.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.a.Status()
	send := func(name string, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.descs[name], kind, v, labels...)
	}
	gauge := func(name string, v float64) { send(name, prometheus.GaugeValue, v) }
	programmed := 0
	ways := map[string]float64{}
	for _, p := range s.Peers {
		if p.Way != "" {
			ways[p.Way]++
		}
		programmed += int(truth(p.Programmed))
		name := strings.Join(p.Subnets, ",")
		for _, w := range p.WireGuard {
			if w.Handshake != nil {
				send("weft_wireguard_handshake_timestamp_seconds", prometheus.GaugeValue, float64(w.Handshake.Unix()), name, w.Link)
			}
			send("weft_wireguard_received_bytes_total", prometheus.CounterValue, float64(w.Received), name, w.Link)
			send("weft_wireguard_sent_bytes_total", prometheus.CounterValue, float64(w.Sent), name, w.Link)
		}
		for _, x := range p.Paths {
			send("weft_peer_direct", prometheus.GaugeValue, truth(x.Direct), name, x.Family)
			send("weft_peer_direct_falls_total", prometheus.CounterValue, float64(x.Falls), name, x.Family)
		}
	}
	gauge("weft_ready", truth(s.Ready))
	gauge("weft_peers_wanted", float64(len(s.Peers)))
	gauge("weft_peers_programmed", float64(programmed))
	for way, n := range ways {
		send("weft_peers_by_way", prometheus.GaugeValue, n, way)
	}
	gauge("weft_transition", truth(s.Transition != nil))
	for kind, n := range s.Kernel.Objects {
		send("weft_kernel_objects", prometheus.GaugeValue, float64(n), kind)
		send("weft_kernel_changes_total", prometheus.CounterValue, float64(s.Kernel.Changes[kind]), kind)
		send("weft_kernel_repairs_total", prometheus.CounterValue, float64(s.Kernel.Repairs[kind]), kind)
	}
	if s.Rotation != nil {
		gauge("weft_wireguard_rotation_missing_peers", float64(len(s.Rotation.Missing)))
	}
	for _, d := range s.Dropped {
		send("weft_udp_dropped_packets_total", prometheus.CounterValue, float64(d.Packets), d.Link, d.Reason)
	}
	gauge("weft_kernel_in_step", truth(s.Kernel.InStep))
	gauge("weft_pass_seconds", s.Kernel.PassSeconds)
	if t := s.Kernel.LastPass; t != nil {
		gauge("weft_last_pass_timestamp_seconds", float64(t.UnixMilli())/1000)
	}
	gauge("weft_store_connected", truth(s.Store.Connected))
	if t := s.Store.LastAnswer; t != nil {
		gauge("weft_store_last_answer_timestamp_seconds", float64(t.UnixMilli())/1000)
	}
	send("weft_store_errors_total", prometheus.CounterValue, float64(m.a.o.Store.Health().Errors))
	gauge("weft_store_faults", float64(len(s.Store.Faults)))
	if s.Lease != nil && s.Lease.Expires != nil {
		gauge("weft_lease_expiry_timestamp_seconds", float64(s.Lease.Expires.Unix()))
	}
	gauge("weft_firewall_in_step", truth(s.Firewall.InStep))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
