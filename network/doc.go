// Package network is the agent: it chooses the uplink, computes from config, leases and uplink what the kernel must
// hold, and keeps the kernel so. It knows the order of things and refuses to know netlink, firewalls' own languages, etcd and
// command lines; those are in the packages below it, in subnet's stores and in cmd.
package network
