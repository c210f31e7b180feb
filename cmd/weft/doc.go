// Command weft is the CNI plugin: it reads the subnet that weftd leased for this node from subnet.env, and has a
// delegate (bridge with host-local, unless the config names another) attach the pod to it. It knows the network config,
// what it told the delegate for each attachment, and the result versions of the CNI from 0.1.0 to 1.1.0. It refuses to
// know stores, leases and netlink, and keeps no process running. Installed under the name flannel it serves network
// configs of that type.
package main
