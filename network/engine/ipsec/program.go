package ipsec

import (
	"errors"
	"os/exec"
)

// places are where distributions put charon. The first is of the package charon-systemd, which brings no more than is needed.
var places = [...]string{"charon-systemd", "/usr/sbin/charon-systemd", "/usr/lib/ipsec/charon", "/usr/lib/strongswan/charon", "/usr/libexec/ipsec/charon",
	"/usr/libexec/strongswan/charon", "/usr/lib64/strongswan/charon"}

// find returns where charon is.
func find(places []string) (string, error) {
	for _, p := range places {
		if path, err := exec.LookPath(p); err == nil {
			return path, nil
		}
	}
	return "", errors.New("the backend ipsec needs charon of strongSwan 5.9 or newer, which is not installed here: on Debian and Ubuntu " +
		"apt-get install charon-systemd libstrongswan-standard-plugins")
}

// config is charon's: only what Weft needs, on a socket of its own. Whatever else strongSwan does on this host has another one.
func (c *charon) config() string {
	return `# Written by weftd.
charon {
	load = random nonce aes des sha1 sha2 md5 hmac kdf gcm ccm ctr chapoly cmac xcbc openssl gmp curve25519 kernel-netlink socket-default vici
	install_routes = no
	install_virtual_ip = no
	# What a peer was told last counts, not what it was told when it first spoke with this node.
	reuse_ikesa = no
	retransmit_tries = 4
	retransmit_timeout = 1.0
	retransmit_base = 1.5
	plugins {
		vici {
			socket = unix://` + c.socket() + `
		}
	}
	filelog {
		stderr {
			default = 0
			cfg = 1
			ike = 1
			time_format = %F %T
		}
	}
}
charon-systemd {
	journal {
		default = -1
	}
}
`
}
