package network

import "time"

// Status is what weftd says of itself, on its socket as JSON and through weftctl status.
type Status struct {
	Network  string         `json:"network,omitempty"` // its name; absent for the first one
	Version  string         `json:"version"`
	Node     string         `json:"node"`             // identity
	Ready    bool           `json:"ready"`            // lease held, every listed peer programmed, loop alive
	Waiting  []string       `json:"waiting"`          // one sentence for each thing that the agent waits for
	Warnings []string       `json:"warnings"`         // one sentence for each thing that works but should not stay so
	Config   string         `json:"config,omitempty"` // net-conf.json in force
	Lease    *LeaseStatus   `json:"lease,omitempty"`  // this node's; absent until there is one
	MTU      int            `json:"mtu,omitempty"`    // of pods, bytes
	Uplinks  []UplinkStatus `json:"uplinks"`
	Peers    []PeerStatus   `json:"peers"`
	// Transition is there while the backend changes.
	Transition *TransitionStatus `json:"transition,omitempty"`
	// Rotation is there while this node changes its private key for WireGuard.
	Rotation *RotationStatus `json:"rotation,omitempty"`
	Store    StoreStatus     `json:"store"`
	Kernel   KernelStatus    `json:"kernel"`
	Firewall FirewallStatus  `json:"firewall"`
	// Dropped says what processes that move packets have dropped of them; absent where there are none.
	Dropped []DroppedStatus `json:"dropped,omitempty"`

	// Networks are the others that the same weftd serves; only the first one's status has them.
	Networks []Status `json:"networks,omitempty"`
}

// LeaseStatus is a lease in text.
type LeaseStatus struct {
	Subnets   []string   `json:"subnets"`
	PublicIPs []string   `json:"publicIPs"`
	Backend   string     `json:"backend"`
	Expires   *time.Time `json:"expires,omitempty"` // absent where it does not expire
}

// UplinkStatus says how the node reaches its peers in one family, and why so.
type UplinkStatus struct {
	Family  string `json:"family"` // "IPv4" or "IPv6"
	Link    string `json:"link"`
	MTU     int    `json:"mtu"`
	Address string `json:"address"`
	Public  string `json:"public"`
	Reason  string `json:"reason"`
}

// PeerStatus is one peer and whether the kernel serves it.
type PeerStatus struct {
	Node       string   `json:"node,omitempty"` // absent for a peer that runs flanneld
	Subnets    []string `json:"subnets"`
	PublicIPs  []string `json:"publicIPs"`
	Backend    string   `json:"backend"`       // its newest
	Way        string   `json:"way,omitempty"` // by which it is reached: the backend, and what both nodes agreed to
	Programmed bool     `json:"programmed"`
	Error      string   `json:"error,omitempty"` // why it is not served

	WireGuard []WireGuardStatus `json:"wireguard,omitempty"` // what its devices count, where it is reached by WireGuard
	Paths     []PathStatus      `json:"paths,omitempty"`     // whether it is reached without the tunnel, where that is tried
}

// StoreStatus is how the connection to the store is.
type StoreStatus struct {
	Kind       string     `json:"kind"` // "etcd"
	Connected  bool       `json:"connected"`
	LastAnswer *time.Time `json:"lastAnswer,omitempty"`
	Error      string     `json:"error,omitempty"`
	Faults     []string   `json:"faults"` // entries that could not be read, each with what is wrong
}

// KernelStatus is how the kernel compares with what is wanted.
type KernelStatus struct {
	InStep      bool              `json:"inStep"` // the last pass left nothing different, and the store has said nothing new since
	LastPass    *time.Time        `json:"lastPass,omitempty"`
	PassSeconds float64           `json:"passSeconds"`
	Objects     map[string]int    `json:"objects"` // wanted, by kind: link, addr, route, neigh, fdb, sysctl
	Changes     map[string]uint64 `json:"changes"` // made since the start, by kind
	Repairs     map[string]uint64 `json:"repairs"` // of these, what another process had broken
	Error       string            `json:"error,omitempty"`
}

// FirewallStatus is how the firewall rules are kept.
type FirewallStatus struct {
	Rendering string `json:"rendering"` // "nftables" or "iptables"
	Reason    string `json:"reason"`
	InStep    bool   `json:"inStep"`
	Error     string `json:"error,omitempty"`
}
