package masq

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// legacyTables names the tables that iptables-legacy has made in the kernel for f. They are a world of their own: neither
// nftables nor iptables-nft sees them, but packets pass through both.
func legacyTables(f subnet.Family) ([]string, error) {
	name := [2]string{subnet.Inet: "ip_tables_names", subnet.Inet6: "ip6_tables_names"}[f]
	b, err := os.ReadFile("/proc/thread-self/net/" + name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list legacy iptables tables: %w", err)
	}
	return strings.Fields(string(b)), nil
}
