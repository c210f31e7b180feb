package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/weft-network/weft/network"
)

// printStatus writes s for a person to read: first what is good or bad, then the node, then the peers; and then the same of each
// further network.
func printStatus(out io.Writer, s network.Status, now time.Time) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, plain(value)) }
	if s.Network != "" {
		row("network", s.Network)
	}
	row("node", fmt.Sprintf("%s, weftd %s", s.Node, s.Version))
	row("ready", yes(s.Ready))
	for _, text := range s.Waiting {
		row("waiting", text)
	}
	for _, text := range s.Warnings {
		row("warning", text)
	}
	row("lease", leaseText(s.Lease, now))
	for _, u := range s.Uplinks {
		row("uplink", uplinkText(u))
	}
	if s.MTU != 0 {
		row("pods", fmt.Sprintf("mtu %d", s.MTU))
	}
	row("store", storeText(s.Store, now))
	for _, text := range s.Store.Faults {
		row("", "unreadable: "+text)
	}
	row("kernel", kernelText(s.Kernel, now))
	row("firewall", firewallText(s.Firewall))
	if text := droppedText(s.Dropped); text != "" {
		row("dropped", text)
	}
	if s.Transition != nil {
		row("backend", transitionText(*s.Transition))
		for _, text := range s.Transition.Hinders {
			row("", "as before: "+text)
		}
	}
	if s.Rotation != nil {
		row("key", rotationText(*s.Rotation))
	}
	row("peers", peersText(s.Peers))
	if len(s.Peers) > 0 {
		fmt.Fprintln(w)
		peerTable(w, s.Peers, s.Transition != nil || s.Rotation != nil, now)
	}
	w.Flush() // into a buffer: cannot fail
	_, err := out.Write(trimRight(b.Bytes()))
	for _, x := range s.Networks {
		_, errLine := fmt.Fprintln(out)
		err = errors.Join(err, errLine, printStatus(out, x, now))
	}
	return err
}

// transitionText says what the backend changes to, and who is missing.
func transitionText(t network.TransitionStatus) string {
	text := fmt.Sprintf("changing to %s, with %s in place until all nodes have followed", t.To, strings.Join(t.From, " and "))
	const most = 5
	if n := len(t.Missing); n > most {
		return fmt.Sprintf("%s; missing: %s and %d more", text, strings.Join(t.Missing[:most], ", "), n-most)
	} else if n > 0 {
		return text + "; missing: " + strings.Join(t.Missing, ", ")
	}
	return text
}

// peerTable writes one line for each peer, those that are not served first. While the backend changes it tells what exactly each
// is reached by.
func peerTable(w io.Writer, peers []network.PeerStatus, exactly bool, now time.Time) {
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(a, b network.PeerStatus) int { return cmp.Compare(rank(a), rank(b)) })
	fmt.Fprintln(w, "PEER\tSUBNETS\tADDRESSES\tBACKEND\tSTATE")
	for _, p := range peers {
		if exactly {
			p.Backend = cmp.Or(p.Way, p.Backend)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(cmp.Or(p.Node, "(flanneld)")), strings.Join(p.Subnets, ","),
			strings.Join(p.PublicIPs, ","), plain(p.Backend), plain(peerState(p, now)))
	}
}

func rank(p network.PeerStatus) int {
	if p.Programmed && p.Error == "" {
		return 1
	}
	return 0
}

func peerState(p network.PeerStatus, now time.Time) string {
	switch {
	case p.Error != "":
		return "FAILED: " + p.Error
	case !p.Programmed:
		return "not in the kernel yet"
	default:
		return "ok" + pathText(p.Paths) + wireGuardText(p.WireGuard, now)
	}
}

// pathText tells whether a peer is reached without the tunnel, and why not.
func pathText(paths []network.PathStatus) string {
	var text string
	for _, p := range paths {
		how := "direct"
		if !p.Direct {
			how = "by the tunnel: " + p.Reason
		}
		text += fmt.Sprintf(", %s %s", p.Family, how)
	}
	return text
}

// wireGuardText tells how things are with a peer that is reached by WireGuard.
func wireGuardText(devices []network.WireGuardStatus, now time.Time) string {
	var text string
	for _, d := range devices {
		handshake := "no handshake yet"
		if d.Handshake != nil {
			handshake = "handshake " + roughly(now.Sub(*d.Handshake)) + " ago"
		}
		text += fmt.Sprintf(", %s: %s, %s in, %s out", d.Link, handshake, size(d.Received), size(d.Sent))
	}
	return text
}

// droppedText tells what was dropped, where anything was.
func droppedText(list []network.DroppedStatus) string {
	var texts []string
	for _, d := range list {
		if d.Packets > 0 {
			texts = append(texts, fmt.Sprintf("%s: %d packets (%s)", d.Link, d.Packets, d.Reason))
		}
	}
	return strings.Join(texts, ", ")
}

// size returns a number of bytes in words.
func size(bytes uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	i, n := 0, float64(bytes)
	for ; n >= 1000 && i < len(units)-1; i++ {
		n /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// plain keeps what other nodes wrote into the store on one line, and from commanding the terminal.
func plain(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

func leaseText(l *network.LeaseStatus, now time.Time) string {
	if l == nil {
		return "none yet"
	}
	text := fmt.Sprintf("%s by %s, announced as %s", strings.Join(l.Subnets, " and "), l.Backend, strings.Join(l.PublicIPs, " and "))
	if l.Expires != nil {
		text += ", would expire in " + roughly(l.Expires.Sub(now))
	}
	return text
}

func uplinkText(u network.UplinkStatus) string {
	text := fmt.Sprintf("%s %s on %s, mtu %d", u.Family, u.Address, u.Link, u.MTU)
	if u.Public != u.Address && u.Public != "" {
		text += ", announced as " + u.Public
	}
	if u.Reason != "" {
		text += ": " + u.Reason
	}
	return text
}

func storeText(s network.StoreStatus, now time.Time) string {
	text := cmp.Or(s.Kind, "unknown")
	if s.Connected {
		text += ", connected"
	} else {
		text += ", NOT CONNECTED"
	}
	if s.LastAnswer != nil {
		text += ", last answer " + roughly(now.Sub(*s.LastAnswer)) + " ago"
	}
	return withError(text, s.Error)
}

func kernelText(k network.KernelStatus, now time.Time) string {
	text := "NOT IN STEP"
	if k.InStep {
		text = "in step"
	}
	text += fmt.Sprintf(", %d objects", sum(k.Objects))
	if k.LastPass != nil {
		text += fmt.Sprintf(", last pass %s ago took %s", roughly(now.Sub(*k.LastPass)),
			time.Duration(k.PassSeconds*float64(time.Second)).Round(10*time.Microsecond))
	}
	text += fmt.Sprintf("; since the start: %d changes, %d repairs%s", sum(k.Changes), sum(k.Repairs), byKind(k.Repairs))
	return withError(text, k.Error)
}

func firewallText(f network.FirewallStatus) string {
	if f.Rendering == "" {
		return withError("no rules yet", f.Error)
	}
	text := f.Rendering
	if f.InStep {
		text += ", in step"
	} else {
		text += ", NOT IN STEP"
	}
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	return withError(text, f.Error)
}

func peersText(peers []network.PeerStatus) string {
	served := 0
	for _, p := range peers {
		served += rank(p)
	}
	switch {
	case len(peers) == 0:
		return "none"
	case served == len(peers):
		return fmt.Sprintf("%d, all of them served", len(peers))
	}
	return fmt.Sprintf("%d, %d of them NOT SERVED", len(peers), len(peers)-served)
}

func withError(text, err string) string {
	if err == "" {
		return text
	}
	return text + "; error: " + err
}

// byKind lists what is not zero, as " (2 route, 1 neigh)".
func byKind(counts map[string]uint64) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		if counts[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func sum[N int | uint64](counts map[string]N) N {
	var n N
	for _, c := range counts {
		n += c
	}
	return n
}

// roughly writes a duration with as many digits as a person wants to read.
func roughly(d time.Duration) string {
	switch {
	case d < 0:
		return "no time"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// trimRight removes the spaces that a table leaves at the ends of lines.
func trimRight(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimRight(line, " ")
	}
	return bytes.Join(lines, []byte("\n"))
}
