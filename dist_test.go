package weft

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-network/weft/subnet"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSampleConfigs(t *testing.T) {
	paths, err := filepath.Glob("dist/net-conf*.json")
	if err != nil || len(paths) < 3 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			if _, warnings, err := subnet.Parse(read(t, path)); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %v", err, warnings)
			}
		})
	}
}

// TestConflist reads the sample as a container runtime does.
func TestConflist(t *testing.T) {
	list, err := libcni.ConfListFromFile("dist/10-weft.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if list.CNIVersion != "1.1.0" {
		t.Errorf("a runtime of today would speak CNI %s; STATUS and GC need 1.1.0", list.CNIVersion)
	}
	var types []string
	for _, p := range list.Plugins {
		types = append(types, p.Network.Type)
	}
	if diff := cmp.Diff([]string{"weft", "portmap", "bandwidth"}, types); diff != "" {
		t.Errorf("plugins, -want +got:\n%s", diff)
	}
	var old struct{ CNIVersion string }
	if err := json.Unmarshal([]byte(read(t, "dist/10-weft.conflist")), &old); err != nil || old.CNIVersion != "1.0.0" {
		t.Errorf("a runtime that does not know cniVersions would speak CNI %q, %v", old.CNIVersion, err)
	}
}

// unitValues returns the options of the unit by section and name; a later one of the same name is joined by a space.
func unitValues(t *testing.T, path string) map[string]string {
	t.Helper()
	options, err := unit.DeserializeOptions(strings.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, o := range options {
		key := o.Section + "." + o.Name
		values[key] = strings.TrimSpace(values[key] + " " + o.Value)
	}
	return values
}

func TestSystemdUnit(t *testing.T) {
	got := unitValues(t, "dist/weftd.service")
	for key, want := range map[string]string{
		"Service.Type":                     "notify",
		"Service.ExecStart":                "/usr/local/bin/weftd",
		"Service.EnvironmentFile":          "-/etc/weft/weftd.env",
		"Service.TimeoutStartSec":          "infinity",     // it waits for etcd, however long
		"Service.Restart":                  "always",       // also after kill -9
		"Unit.StartLimitIntervalSec":       "0",            // however often
		"Service.RuntimeDirectory":         "weft flannel", // the socket, subnet.env
		"Service.RuntimeDirectoryPreserve": "yes",          // subnet.env stays
		"Service.StateDirectory":           "weft",
		"Service.CapabilityBoundingSet":    "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
		"Service.RestrictAddressFamilies":  "AF_UNIX AF_NETLINK AF_INET AF_INET6",
		"Service.ProtectKernelTunables":    "",                // /proc/sys/net is written
		"Service.ProtectSystem":            "full",            // strict would close /run/xtables.lock
		"Service.ReadWritePaths":           "-/etc/cni/net.d", // full closes /etc, which --cni-install writes to
		"Service.PrivateNetwork":           "",
		"Service.KillMode":                 "process", // of udp and ipsec stay
		"Install.WantedBy":                 "multi-user.target",
	} {
		if got[key] != want {
			t.Errorf("%s=%s, want %q", key, got[key], want)
		}
	}
}

// TestHostServiceSeesOnly holds that what a host service is given beside its kubelet's rights changes nothing.
func TestHostServiceSeesOnly(t *testing.T) {
	text := read(t, "dist/host-service.yaml")
	for _, m := range regexp.MustCompile(`(?m)^ +(resources|verbs): \[(.*)\]$`).FindAllStringSubmatch(text, -1) {
		if want := map[string]string{"resources": "nodes", "verbs": "get, list, watch"}[m[1]]; m[2] != want {
			t.Errorf("%s are %s, want %s", m[1], m[2], want)
		}
	}
	if n := strings.Count(text, "verbs:"); n != 1 {
		t.Errorf("%d rules, want 1", n)
	}
}

// instruction is a line of a Dockerfile, continuations joined.
type instruction struct {
	name string
	args []string
}

func dockerfile(t *testing.T, path string) []instruction {
	t.Helper()
	var all []instruction
	text := strings.ReplaceAll(read(t, path), "\\\n", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if !slices.Contains([]string{"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "LABEL", "ENTRYPOINT"}, words[0]) {
			t.Errorf("%s: unknown instruction %q", path, words[0])
		}
		all = append(all, instruction{words[0], words[1:]})
	}
	return all
}

// TestDockerfile holds that the last stage is empty but for what make build makes, and starts weftd from there, with
// the labels of make image.
func TestDockerfile(t *testing.T) {
	var base, entry string
	var copied, labels []string
	made := false
	for _, i := range dockerfile(t, "dist/Dockerfile") {
		switch i.name {
		case "FROM":
			base, copied = i.args[0], nil
		case "RUN":
			made = made || strings.HasSuffix(strings.Join(i.args, " "), "make build VERSION=$VERSION")
			if base == "scratch" {
				t.Error("RUN in an image without a shell")
			}
		case "COPY":
			copied = append(copied, i.args...)
		case "LABEL":
			labels = append(labels, i.args...)
		case "ENTRYPOINT":
			var command []string
			if err := json.Unmarshal([]byte(strings.Join(i.args, " ")), &command); err != nil {
				t.Fatalf("ENTRYPOINT needs the form that takes no shell: %v", err)
			}
			entry = command[0]
		}
	}
	if base != "scratch" || !made || entry != "/usr/local/bin/weftd" {
		t.Errorf("last stage FROM %s, made %t, starts %q", base, made, entry)
	}
	want := []string{"--from=build", "/src/bin/weftd", "/src/bin/weftctl", "/usr/local/bin/", "--from=build", "/src/bin/cni/", "/opt/cni/bin/"}
	if diff := cmp.Diff(want, copied); diff != "" {
		t.Errorf("copied, -want +got:\n%s", diff)
	}
	image := read(t, "Makefile")
	for _, label := range labels {
		name, value, _ := strings.Cut(strings.TrimPrefix(label, "org.opencontainers.image."), "=")
		value = strings.NewReplacer("$VERSION", "$(VERSION)", module, "$(MODULE)").Replace(value)
		if flag := "-" + name + " " + value; !strings.Contains(image, flag) {
			t.Errorf("make image does not label with %s", flag)
		}
	}
	if len(labels) != 4 {
		t.Errorf("labels %v", labels)
	}
}

func TestLicence(t *testing.T) {
	text := []byte(read(t, "LICENSE"))
	for _, part := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("LICENSE lacks %q", part)
		}
	}
}
