package subnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Saved is the last good picture of the store that a node keeps on disk, so that it reaches its peers also when it
// starts while the store is away.
type Saved struct {
	Config string  // net-conf.json as it was stored
	Own    Lease   // this node's; zero if it had none
	Peers  []Lease // the others', in any order
	Self   Self    // what the store said of this node
}

// savedVersion is that of the file's form. An agent does not read what a newer one, of another form, wrote.
const savedVersion = 1

// Save writes the file as WriteFile does, readable for its owner. Equal pictures make equal files, whatever the
// order of Peers. One lease is one line.
func (s Saved) Save(path string) (changed bool, err error) {
	return WriteFile(path, s.encode(), 0o600)
}

// LoadSaved reads what Save wrote. Peers are in order of their subnets. The error wraps fs.ErrNotExist where there
// is no file; a damaged one gives an error that names it and what is wrong.
func LoadSaved(path string) (Saved, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Saved{}, fmt.Errorf("reading the last known leases: %w", err)
	}
	s, err := parseSaved(data)
	if err != nil {
		return Saved{}, fmt.Errorf("reading the last known leases: %s: %w", path, err)
	}
	return s, nil
}

// savedFile mirrors the file.
type savedFile struct {
	Version int
	Config  string
	Own     *savedLease
	Peers   []savedLease
	Self    Self
}

// savedLease mirrors one lease in the file. Its encoding is appendLease.
type savedLease struct {
	Subnets  Subnets
	Node     string
	PublicIP [2]netip.Addr
	Backend  string
	Data     [2]string
	MTU      int
	Ways     string
}

// encode is written out by hand: it runs after every change of a lease, with thousands of them.
func (s Saved) encode() []byte {
	order := make([]*Lease, len(s.Peers))
	for i := range s.Peers {
		order[i] = &s.Peers[i]
	}
	slices.SortFunc(order, func(a, b *Lease) int { return a.Subnets.Compare(b.Subnets) })
	b := make([]byte, 0, 256*(len(order)+2)+len(s.Config))
	b = append(b, `{"Version":`...)
	b = strconv.AppendInt(b, savedVersion, 10)
	b = append(b, ",\n\"Config\":"...)
	b = appendString(b, s.Config)
	if s.Own != (Lease{}) {
		b = append(b, ",\n\"Own\":"...)
		b = appendLease(b, &s.Own)
	}
	if self, err := json.Marshal(s.Self); err == nil && s.Self != (Self{}) {
		b = append(append(b, ",\n\"Self\":"...), self...)
	}
	b = append(b, ",\n\"Peers\":["...)
	for i, l := range order {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = appendLease(b, l)
	}
	return append(b, "]}\n"...)
}

func appendLease(b []byte, l *Lease) []byte {
	b = append(b, `{"Subnets":["`...)
	b = appendPrefix(b, l.Subnets[Inet])
	b = append(b, `","`...)
	b = appendPrefix(b, l.Subnets[Inet6])
	b = append(b, `"],"Node":`...)
	b = appendString(b, l.Node)
	b = append(b, `,"PublicIP":["`...)
	b = appendAddr(b, l.PublicIP[Inet])
	b = append(b, `","`...)
	b = appendAddr(b, l.PublicIP[Inet6])
	b = append(b, `"],"Backend":`...)
	b = appendString(b, l.Backend)
	b = append(b, `,"Data":[`...)
	b = appendString(b, l.Data[Inet])
	b = append(b, ',')
	b = appendString(b, l.Data[Inet6])
	b = append(b, ']')
	if l.MTU != 0 {
		b = append(b, `,"MTU":`...)
		b = strconv.AppendInt(b, int64(l.MTU), 10)
	}
	if l.Ways != "" {
		b = append(b, `,"Ways":`...)
		b = appendString(b, l.Ways)
	}
	return append(b, '}')
}

// appendPrefix and appendAddr write nothing for the zero value, which is what its UnmarshalText reads as zero.
func appendPrefix(b []byte, p netip.Prefix) []byte {
	if !p.IsValid() {
		return b
	}
	return p.AppendTo(b)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return a.AppendTo(b)
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// parseSaved reads and checks the file's text.
func parseSaved(data []byte) (Saved, error) {
	if !utf8.Valid(data) {
		return Saved{}, errors.New("damaged: it is not text")
	}
	var f savedFile
	err := json.Unmarshal(data, &f)
	if json.Valid(data) && f.Version != savedVersion {
		return Saved{}, fmt.Errorf("it is of version %d: want %d", f.Version, savedVersion)
	}
	if err != nil {
		return Saved{}, fmt.Errorf("damaged: %w%s", err, position(string(data), err))
	}
	s := Saved{Config: f.Config, Self: f.Self}
	if f.Own != nil {
		s.Own = f.Own.lease()
		if err := s.Own.check(); err != nil {
			return Saved{}, fmt.Errorf("damaged: own lease: %w", err)
		}
	}
	for i, l := range f.Peers {
		s.Peers = append(s.Peers, l.lease())
		if err := s.Peers[i].check(); err != nil {
			return Saved{}, fmt.Errorf("damaged: lease %d: %w", i+1, err)
		}
	}
	slices.SortFunc(s.Peers, func(a, b Lease) int { return a.Subnets.Compare(b.Subnets) })
	if err := s.distinct(); err != nil {
		return Saved{}, err
	}
	return s, nil
}

func (l savedLease) lease() Lease {
	return Lease{Subnets: l.Subnets, Attrs: Attrs{Node: l.Node, PublicIP: l.PublicIP, Backend: l.Backend, Data: l.Data, MTU: l.MTU, Ways: l.Ways}}
}

// check tells what of a lease no store would give.
func (l Lease) check() error {
	if l.Subnets.IsZero() {
		return errors.New("no subnet")
	}
	for _, f := range Families {
		if p := l.Subnets[f]; p.IsValid() && (FamilyOf(p.Addr()) != f || p != p.Masked()) {
			return fmt.Errorf("%s is no %s subnet", p, f)
		}
		if a := l.PublicIP[f]; a.IsValid() && (FamilyOf(a) != f || a.Zone() != "") {
			return fmt.Errorf("%s is no %s address", a, f)
		}
	}
	return nil
}

// distinct tells whether a key is there twice. Peers are sorted.
func (s Saved) distinct() error {
	for i, l := range s.Peers {
		if l.Subnets == s.Own.Subnets || i > 0 && l.Subnets == s.Peers[i-1].Subnets {
			return fmt.Errorf("damaged: two leases of %s", l.Subnets)
		}
	}
	return nil
}

// Compare orders subnets by address, those of IPv4 first, for lists that people and tests read.
func (s Subnets) Compare(o Subnets) int {
	for f := range s {
		if s[f] != o[f] { // comparing the zero Prefix with itself is costly
			return s[f].Compare(o[f])
		}
	}
	return 0
}
