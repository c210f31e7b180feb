package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/cmd/internal/wire"
	"github.com/weft-network/weft/subnet"
)

const checkHelp = `check reads a network config (net-conf.json, or what stands in etcd under
<prefix>/config) as weftd would, names every mistake in it at once, and prints
what would be used, defaults filled in. FILE may be - for standard input:

  etcdctl get --print-value-only /coreos.com/network/config | weftctl check -

weftd only warns of keys that it does not know, so that a config for a newer
version does not stop an older one. Here they are mistakes.

Exit status: 0 valid, 1 not valid, 2 it could not be read.`

// largestConfig is more than any network config needs, and little enough to read whatever FILE is.
const largestConfig = 1 << 20

func newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "check a network config (net-conf.json)",
		Long:  checkHelp,
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readConfig(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return runCheck(args[0], text, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("check wants one file, such as /etc/kube-flannel/net-conf.json, or - for standard input")
	}
	return nil
}

func readConfig(file string, stdin io.Reader) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the network config: %w", err)
		}
		defer f.Close()
		stdin = f
	}
	text, err := io.ReadAll(io.LimitReader(stdin, largestConfig+1))
	if err != nil {
		return "", fmt.Errorf("read the network config: %w", err)
	}
	if len(text) > largestConfig {
		return "", fmt.Errorf("read the network config: %s is larger than %d bytes, which no network config is", file, largestConfig)
	}
	return string(text), nil
}

// runCheck prints what text means, or all that is wrong with it.
func runCheck(file, text string, stdout, stderr io.Writer) error {
	config, b, mistakes := checkConfig(text)
	if len(mistakes) > 0 {
		for _, m := range mistakes {
			fmt.Fprintf(stderr, "%s: %s\n", file, m)
		}
		fmt.Fprintf(stderr, "%s: not valid (%d)\n", file, len(mistakes))
		return errNo
	}
	_, err := io.WriteString(stdout, file+": valid\n"+configText(config, b))
	return err
}

// checkConfig returns what text means, or all mistakes in it; warnings are mistakes here.
func checkConfig(text string) (subnet.Config, backend.Backend, []string) {
	config, warnings, err := subnet.Parse(text)
	mistakes := append(sentences(err), warnings...)
	if err != nil {
		config.Backend, config.BackendConfig = backendOf(text)
	}
	if config.Backend == "" {
		return config, nil, mistakes
	}
	b, warnings, err := wire.Backend(config.Backend, config.BackendConfig)
	if err == nil {
		err = backend.CheckMTU(config.Backend, b, config.Networks)
	}
	return config, b, append(append(mistakes, sentences(err)...), warnings...)
}

// backendOf finds the backend in a config that has mistakes elsewhere, so that its own are told too. It returns ""
// where it cannot: the mistake is in the very place then, and has been told.
func backendOf(text string) (kind, object string) {
	var file struct{ Backend json.RawMessage }
	if json.Unmarshal([]byte(text), &file) != nil {
		return "", ""
	}
	var b struct{ Type string }
	if json.Unmarshal(file.Backend, &b) != nil {
		return "", ""
	}
	return strings.ToLower(b.Type), string(file.Backend)
}

// sentences takes joined errors apart.
func sentences(err error) []string {
	if err == nil {
		return nil
	}
	return slices.DeleteFunc(strings.Split(err.Error(), "\n"), func(s string) bool { return s == "" })
}

// configText says what will be used, in lines of name and value.
func configText(c subnet.Config, b backend.Backend) string {
	var out strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	for f, n := range c.Networks {
		family := subnet.Family(f)
		if !n.Enabled() {
			row(family.String(), "off")
			continue
		}
		row(family.String(), "%s, %d subnets of /%d, %s to %s", n.Prefix, n.Size(), n.SubnetLen, n.Min.Addr(), n.Max.Addr())
		for _, n := range c.Further[f] {
			row("", "then %s, %d subnets of /%d, %s to %s", n.Prefix, n.Size(), n.SubnetLen, n.Min.Addr(), n.Max.Addr())
		}
		row("", "masquerade: %s", optional(c.Masquerade[f], "as the flag --ip-masq says"))
	}
	if len(c.NoMasquerade) > 0 {
		row("no masquerade", "to %s", strings.Trim(fmt.Sprint(c.NoMasquerade), "[]"))
	}
	row("firewall", "nftables: %s", optional(c.NFTables, "as the flag --firewall says"))
	row("backend", "%s %s", c.Backend, c.BackendConfig)
	row("", "%s", costText(b))
	return out.String()
}

// costText says how much smaller than the network's the packets of pods are.
func costText(b backend.Backend) string {
	least, most := b.Overhead(netip.IPv4Unspecified()), b.Overhead(netip.IPv6Unspecified())
	if least == 0 && most == 0 {
		return "adds nothing to packets"
	}
	return fmt.Sprintf("adds %d bytes to each packet between nodes' IPv4 addresses, %d between IPv6 addresses", least, most)
}

// optional says yes or no, or what is true where the config does not say.
func optional(b *bool, unset string) string {
	switch {
	case b == nil:
		return unset
	case *b:
		return "yes"
	default:
		return "no"
	}
}
