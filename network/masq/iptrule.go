package masq

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// targets are the verdicts in iptables' words.
var targets = map[Verdict][]string{
	Leave:      {"-j", "RETURN"},
	Masquerade: {"-j", "MASQUERADE"},
	Accept:     {"-j", "ACCEPT"},
	Untrack:    {"-j", "CT", "--notrack"},
	Drop:       {"-j", "DROP"},
}

// arguments renders r as iptables takes it. The rules of Prerouting and Output share a chain, so each asks whether
// its own end of the packet is this host.
func arguments(r Rule) []string {
	var args []string
	for _, m := range []struct {
		flag string
		net  Net
	}{{"-s", r.Source}, {"-d", r.Destination}} {
		if m.net.Outside {
			args = append(args, "!")
		}
		if m.net.Prefix.IsValid() {
			args = append(args, m.flag, m.net.Prefix.String())
		}
	}
	if r.Device != "" {
		args = append(args, "-o", r.Device)
	}
	if r.UDPPort != 0 {
		args = append(args, "-p", "udp", "-m", "udp", "--dport", strconv.Itoa(int(r.UDPPort)))
	}
	if r.Protocol != 0 {
		args = append(args, "-p", strconv.Itoa(int(r.Protocol)))
	}
	switch r.Chain {
	case Prerouting:
		args = append(args, "-m", "addrtype", "--dst-type", "LOCAL")
	case Output:
		args = append(args, "-m", "addrtype", "--src-type", "LOCAL")
	}
	if r.Mark != 0 {
		args = append(args, "-m", "mark", "--mark", fmt.Sprintf("%#x/%#x", r.Mark, r.Mark))
	}
	args = append(args, "-m", "comment", "--comment", r.Why)
	args = append(args, targets[r.Verdict]...)
	if r.RandomFully {
		args = append(args, "--random-fully")
	}
	return args
}

// parseRule reads a rule of one of our chains as iptables -S lists it; chain is what the rules of that chain are for,
// and is made more precise where two share it. ok is false for a rule that Plan cannot have made.
func parseRule(line string, f subnet.Family, chain Chain) (r Rule, ok bool) {
	words := split(line)
	if len(words) < 2 || words[0] != "-A" {
		return Rule{}, false
	}
	r = Rule{Family: f, Chain: chain}
	verdict := false
	for words = words[2:]; len(words) > 0; {
		not := words[0] == "!"
		if not {
			words = words[1:]
		}
		n, isVerdict := r.match(words, not)
		if n == 0 {
			return Rule{}, false
		}
		verdict = verdict || isVerdict
		words = words[n:]
	}
	return r, verdict
}

// match takes the next option of a listed rule into r and returns how many words it was, 0 if it is not understood.
func (r *Rule) match(words []string, not bool) (n int, verdict bool) {
	for v, target := range targets {
		if len(words) >= len(target) && slices.Equal(words[:len(target)], target) && !not {
			r.Verdict = v
			return len(target), true
		}
	}
	switch {
	case len(words) > 0 && words[0] == "--random-fully" && !not:
		r.RandomFully = true
		return 1, false
	case len(words) < 2:
		return 0, false
	}
	ok := !not
	switch word := words[1]; words[0] {
	case "-s":
		r.Source, ok = parseNet(word, not)
	case "-d":
		r.Destination, ok = parseNet(word, not)
	case "-o":
		r.Device = word
	case "-m": // says only whose option comes next
	case "-p":
		r.Protocol, ok = parseProtocol(word, ok)
	case "--dport":
		port, err := strconv.ParseUint(word, 10, 16)
		r.UDPPort, ok = uint16(port), ok && err == nil
	case "--mark":
		bits, bitmask, found := strings.Cut(word, "/")
		mark, err := strconv.ParseUint(bits, 0, 32)
		r.Mark, ok = uint32(mark), ok && err == nil && found && bits == bitmask
	case "--dst-type":
		r.Chain, r.Local, ok = Prerouting, true, ok && word == "LOCAL"
	case "--src-type":
		r.Chain, ok = Output, ok && word == "LOCAL"
	case "--comment":
		r.Why = word
	default:
		ok = false
	}
	if !ok {
		return 0, false
	}
	return 2, false
}

// protocols are the names that hosts give to protocols in /etc/protocols, in lower case; iptables prefers them to numbers.
var protocols = map[string]uint8{
	"udp": unix.IPPROTO_UDP, "ipencap": unix.IPPROTO_IPIP, "ip-encap": unix.IPPROTO_IPIP, "ipv4": unix.IPPROTO_IPIP,
	"ipip": unix.IPPROTO_IPIP, "ipv6": unix.IPPROTO_IPV6, "esp": unix.IPPROTO_ESP, "ipv6-crypt": unix.IPPROTO_ESP,
}

// parseProtocol reads the number or name of a protocol. UDP is 0: the port that comes with it says so.
func parseProtocol(word string, ok bool) (uint8, bool) {
	number, known := protocols[strings.ToLower(word)]
	if n, err := strconv.ParseUint(word, 10, 8); err == nil {
		number, known = uint8(n), true
	}
	if number == unix.IPPROTO_UDP {
		number = 0
	}
	return number, ok && known
}

func parseNet(s string, outside bool) (Net, bool) {
	p, err := netip.ParsePrefix(s)
	return Net{Prefix: p, Outside: outside}, err == nil
}

// split cuts a line of iptables -S into words; quotes and backslashes are as iptables writes them.
func split(line string) []string {
	var words []string
	var word strings.Builder
	inWord, quoted, escaped := false, false, false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted, inWord = !quoted, true
		case c == ' ' && !quoted:
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// bare returns what is left of a listed rule without its chain and its comment.
func bare(line string) []string {
	words := split(line)
	if len(words) < 2 {
		return nil
	}
	words = words[2:]
	for i := 0; i+3 < len(words); i++ {
		if words[i] == "-m" && words[i+1] == "comment" && words[i+2] == "--comment" {
			return slices.Delete(words, i, i+4)
		}
	}
	return words
}

// dropsAllLine tells whether a listed rule drops or rejects whatever comes to it.
func dropsAllLine(line string) bool {
	words := bare(line)
	return len(words) >= 2 && words[0] == "-j" && (words[1] == "DROP" || words[1] == "REJECT")
}
