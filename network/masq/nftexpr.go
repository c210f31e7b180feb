package masq

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/subnet"
)

// Where addresses are in the network header of each family.
var (
	sourceOffset      = [2]uint32{subnet.Inet: 12, subnet.Inet6: 8}
	destinationOffset = [2]uint32{subnet.Inet: 16, subnet.Inet6: 24}
)

// nfproto is the number of each family in netfilter.
var nfproto = [2]byte{subnet.Inet: unix.NFPROTO_IPV4, subnet.Inet6: unix.NFPROTO_IPV6}

// expressions renders r for a table of the given family. In a table of both families the rule first asks for its own.
// The result is exactly what the kernel lists for the rule, so that the two can be compared.
func expressions(r Rule, table nftables.TableFamily) []expr.Any {
	var es []expr.Any
	if table == nftables.TableFamilyINet {
		es = append(es, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{nfproto[r.Family]}))
	}
	if r.Mark != 0 {
		bits := binaryutil.NativeEndian.PutUint32(r.Mark)
		es = append(es, &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, mask(bits), equal(bits))
	}
	if r.Device != "" {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, r.Device)
		es = append(es, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(name))
	}
	es = append(es, matchNet(r.Source, r.Family, sourceOffset)...)
	es = append(es, matchNet(r.Destination, r.Family, destinationOffset)...)
	if r.UDPPort != 0 {
		es = append(es,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_UDP}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			equal(binary.BigEndian.AppendUint16(nil, r.UDPPort)))
	}
	if r.Protocol != 0 {
		es = append(es, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{r.Protocol}))
	}
	if r.Local {
		es = append(es, &expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			equal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)))
	}
	return append(es, verdict(r))
}

func verdict(r Rule) expr.Any {
	switch r.Verdict {
	case Masquerade:
		return &expr.Masq{FullyRandom: r.RandomFully}
	case Accept:
		return &expr.Verdict{Kind: expr.VerdictAccept}
	case Untrack:
		return &expr.Notrack{}
	case Drop:
		return &expr.Verdict{Kind: expr.VerdictDrop}
	}
	return &expr.Verdict{Kind: expr.VerdictReturn}
}

// matchNet compares the address at offset with n.
func matchNet(n Net, f subnet.Family, offset [2]uint32) []expr.Any {
	if !n.Prefix.IsValid() {
		return nil
	}
	want := n.Prefix.Addr().AsSlice()
	es := []expr.Any{&expr.Payload{
		DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset[f], Len: uint32(len(want)),
	}}
	if n.Prefix.Bits() < f.Bits() {
		es = append(es, mask(netmask(n.Prefix)))
	}
	op := expr.CmpOpEq
	if n.Outside {
		op = expr.CmpOpNeq
	}
	return append(es, &expr.Cmp{Op: op, Register: 1, Data: want})
}

func netmask(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

func equal(want []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want} }

func mask(m []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}
}
