package probe

import (
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func TestMessages(t *testing.T) {
	c := cookie{1, 2, 3, 4, 5, 6, 7, 8}
	want := echo{0xa1b2c3d4, 0x01020304}
	for _, test := range []struct {
		name     string
		six      bool
		protocol int
		request  icmp.Type
		answer   byte
	}{{"IPv4", false, 1, ipv4.ICMPTypeEcho, answer}, {"IPv6", true, 58, ipv6.ICMPTypeEchoRequest, answer6}} {
		t.Run(test.name, func(t *testing.T) {
			b := c.write(test.six, want)
			m, err := icmp.ParseMessage(test.protocol, b)
			if err != nil || m.Type != test.request {
				t.Fatalf("%v, %v", m, err)
			}
			if e := m.Body.(*icmp.Echo); e.ID != 0x0102 || e.Seq != 0x0304 {
				t.Errorf("identifier %#x, number %#x", e.ID, e.Seq)
			}
			if !test.six && checksum(b) != 0 {
				t.Errorf("the checksum is wrong by %#x", checksum(b))
			}
			if _, ok := c.read(b); ok {
				t.Error("the request is taken for an answer")
			}
			b[0] = test.answer
			if got, ok := c.read(b); !ok || got != want {
				t.Errorf("read %v, %t", got, ok)
			}
			if _, ok := (cookie{}).read(b); ok {
				t.Error("the answer to another process is taken")
			}
			for n := range b {
				if _, ok := c.read(b[:n]); ok {
					t.Errorf("%d bytes are taken for an answer", n)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	c := cookie{1, 2, 3, 4, 5, 6, 7, 8}
	f.Add([]byte{})
	f.Add(c.write(false, echo{1, 2}))
	b := c.write(true, echo{3, 4})
	b[0] = answer6
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := c.read(b)
		if !ok {
			return
		}
		again := c.write(b[0] == answer6, e)
		again[0] = b[0]
		if got, ok := c.read(again); !ok || got != e {
			t.Errorf("%v is read again as %v, %t", e, got, ok)
		}
	})
}
