package kernel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/network/kernel/kerneltest"
)

func TestRemove(t *testing.T) {
	kerneltest.NewNS(t).Do(t, func() {
		k, err := kernel.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to do
			if err := k.Remove(t.Context(), "cni0"); err != nil {
				t.Fatal(err)
			}
			if _, err := netlink.LinkByName("cni0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
				t.Errorf("the device is there still: %v", err)
			}
		}
		err = k.Remove(t.Context(), "lo")
		if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "remove device lo") {
			t.Errorf("removing lo: %v, want %v that names it", err, unix.EOPNOTSUPP)
		}
	})
}
