package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
)

// What holds for a network config that does not say otherwise.
const (
	defaultSubnetFile = "/run/flannel/subnet.env"
	defaultDataDir    = "/var/lib/cni/flannel"
	defaultWait       = 10 // seconds

	// longestWait leaves time to the delegate before kubelet and containerd give up, which they do after two minutes.
	longestWait = 90 // seconds
)

// object is a JSON object of which only some keys concern this plugin; the others pass through it as they were written.
type object map[string]json.RawMessage

// conf is a network config of type weft, or flannel, as a runtime hands it over. Keys that it lacks are ignored here;
// it is for "weftctl check" to name them.
type conf struct {
	// CNIVersion is the version of the result that is asked for; parseConf turns "" into 0.1.0, as the CNI says.
	CNIVersion string `json:"cniVersion"`
	// Name is the name of the network.
	Name string `json:"name"`
	// Type is the name under which this plugin was called.
	Type string `json:"type"`
	// Network is the network of weftd's that pods are attached to, "" for the first. It decides about SubnetFile and the delegate's
	// bridge, where these are not given.
	Network string `json:"network"`
	// SubnetFile is where weftd writes the node's subnets, /run/flannel/subnet.env unless given; of another network than the first
	// the file beside it that has its name.
	SubnetFile string `json:"subnetFile"`
	// SubnetFileWait is how many seconds ADD waits for SubnetFile, 0 to 90, 10 unless given. A pod that is created
	// while the node boots starts a moment later, in place of failing and being backed off.
	SubnetFileWait *int `json:"subnetFileWait"`
	// DataDir is where the delegate's config is kept from ADD to DEL, /var/lib/cni/flannel unless given.
	DataDir string `json:"dataDir"`
	// Delegate is the config of the plugin that does the work; what it does not say is filled in.
	Delegate object `json:"delegate"`
	// IPAM holds keys for the delegate's ipam beside those that are filled in.
	IPAM object `json:"ipam"`
	// RuntimeConfig is what the runtime adds for the capabilities that the network config announces.
	RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	// PrevResult is the result of ADD, in CHECK and DEL.
	PrevResult json.RawMessage `json:"prevResult"`
	// Valid are the attachments that GC leaves alone; nil where the runtime did not say.
	Valid []types.GCAttachment `json:"cni.dev/valid-attachments"`
	// ValidBefore is Valid under the name that an early text of the specification gave to it.
	ValidBefore []types.GCAttachment `json:"cni.dev/attachments"`
}

// parseConf reads a network config and fills in what it leaves out. Its error is a *types.Error.
func parseConf(stdin []byte) (conf, error) {
	c := conf{DataDir: defaultDataDir}
	if err := json.Unmarshal(stdin, &c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return conf{}, types.NewError(types.ErrInvalidNetworkConfig,
				fmt.Sprintf("network config: key %q holds a %s, which does not belong there", wrong.Field, wrong.Value), err.Error())
		}
		return conf{}, types.NewError(types.ErrDecodingFailure, "network config is not JSON that can be read", err.Error())
	}
	asked, err := (&cniversion.ConfigDecoder{}).Decode(stdin)
	if err != nil {
		return conf{}, types.NewError(types.ErrDecodingFailure, "network config: key \"cniVersion\"", err.Error())
	}
	c.CNIVersion = asked
	if c.Name == "" {
		return conf{}, types.NewError(types.ErrInvalidNetworkConfig, `network config: key "name" is missing`, "")
	}
	if w := c.SubnetFileWait; w != nil && (*w < 0 || *w > longestWait) {
		return conf{}, types.NewError(types.ErrInvalidNetworkConfig,
			fmt.Sprintf("network config: key \"subnetFileWait\" is %d, but must be 0 to %d seconds", *w, longestWait), "")
	}
	if c.Network != "" && !isNetwork(c.Network) {
		return conf{}, invalid("network", "is %q, but must be a name of 1 to 7 lower-case letters and digits, a letter first, as weftd's --network has it", c.Network)
	}
	if c.SubnetFile == "" {
		c.SubnetFile = defaultSubnetFile
		if c.Network != "" {
			c.SubnetFile = filepath.Join(filepath.Dir(defaultSubnetFile), c.Network+".env")
		}
	}
	if c.DataDir == "" {
		c.DataDir = defaultDataDir
	}
	if c.Valid == nil {
		c.Valid = c.ValidBefore
	}
	return c, nil
}

// isNetwork tells whether weftd may have a network of that name, as kernel.Mark says, which this plugin is too small to contain.
func isNetwork(name string) bool {
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	return len(name) <= 7 && strings.TrimFunc(name, letter) == "" && name[0] > '9' && !slices.Contains([]string{"flannel", "subnet", "ipsec"}, name)
}

// wait is how long ADD waits for the subnet file.
func (c conf) wait() time.Duration {
	if c.SubnetFileWait == nil {
		return defaultWait * time.Second
	}
	return time.Duration(*c.SubnetFileWait) * time.Second
}

// isSet tells whether a value is there and not null.
func isSet(v json.RawMessage) bool { return len(v) > 0 && string(v) != "null" }
