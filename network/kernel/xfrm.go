package kernel

import "fmt"

// XFRM is a device whose packets IPsec policies and states of its id deal with, and no others; those for which there is no policy are
// dropped.
type XFRM struct {
	ID uint32 // XFRM interface id, never 0
}

// String returns the properties as "ip link add type xfrm" takes them.
func (x XFRM) String() string { return fmt.Sprintf("xfrm if_id %d", x.ID) }

// Attributes of XFRM interfaces (linux/if_link.h).
const (
	xfrmLink            = 1
	xfrmIfID            = 2
	xfrmCollectMetadata = 3
)

// parseXFRM reads the properties. A device that is bound to another one, or has no id of its own, is odd.
func parseXFRM(d *device, data []byte) {
	for kind, v := range attrs(data) {
		switch kind {
		case xfrmLink:
			d.odd = d.odd || getU32(v) != 0
		case xfrmIfID:
			d.as.XFRM.ID = getU32(v)
		case xfrmCollectMetadata:
			d.odd = true
		}
	}
}

func encodeXFRM(w *writer, l Link, _ int, _ bool) { w.u32(xfrmIfID, l.XFRM.ID) }

func mustRemakeXFRM(have, want Link) bool { return have.XFRM.ID != want.XFRM.ID }

// areXFRMRivals: the kernel allows one device for an id.
func areXFRMRivals(x, y Link) bool { return x.XFRM.ID == y.XFRM.ID }
