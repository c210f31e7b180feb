package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// deb is a Debian package that can be downloaded.
type deb struct{ name, version string }

// Packages are the Debian packages that every guest has, with what they depend on.
func Packages() []string {
	return []string{"busybox-static", "dash", "iproute2", "iptables", "iputils-ping", "kmod", "netbase", "nftables", "tcpdump", "wireguard-tools"}
}

// idle are the packages that others depend on to be installed and configured, and which nothing in a guest needs.
var idle = []string{"adduser", "debconf", "dpkg", "init-system-helpers", "libpam-", "libperl", "libsemanage", "libsepol", "passwd", "perl",
	"sysvinit-utils", "tar", "usrmerge"}

func isIdle(name string) bool {
	return strings.HasPrefix(name, "lib") && strings.HasSuffix(name, "-perl") ||
		slices.ContainsFunc(idle, func(p string) bool { return strings.HasPrefix(name, p) })
}

// resolve returns what is to be unpacked to have packages: themselves and all that they depend on, as if nothing were installed.
func resolve(ctx context.Context, packages []string) ([]deb, error) {
	dir, err := os.MkdirTemp("", "weft-vm-apt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	nothing := filepath.Join(dir, "status")
	if err := os.WriteFile(nothing, nil, 0o644); err != nil {
		return nil, err
	}
	text, err := apt(ctx, dir, "apt-get", append([]string{"install", "--print-uris", "--no-install-recommends", "-y", "-o", "Dir::State::status=" + nothing}, packages...)...)
	if err != nil {
		return nil, err
	}
	debs, err := parseURIs(text)
	return slices.DeleteFunc(debs, func(d deb) bool { return isIdle(d.name) }), err
}

// parseURIs reads what apt-get --print-uris prints: 'address' file_version_architecture.deb size hash.
func parseURIs(text string) ([]deb, error) {
	var debs []deb
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(line, "'") {
			continue
		}
		parts := strings.Split(fields[1], "_")
		if len(parts) != 3 {
			return nil, fmt.Errorf("apt-get would download %q, which does not say its version", fields[1])
		}
		version, err := url.PathUnescape(parts[1])
		if err != nil {
			return nil, fmt.Errorf("apt-get would download %q: %w", fields[1], err)
		}
		debs = append(debs, deb{parts[0], version})
	}
	if len(debs) == 0 {
		return nil, errors.New("apt-get would download nothing")
	}
	return debs, nil
}

// download fetches the packages into the folder dir and returns their files. Nothing is installed and no hook runs.
func download(ctx context.Context, dir string, debs []deb) ([]string, error) {
	args := []string{"download"}
	for _, d := range debs {
		args = append(args, d.name+"="+d.version)
	}
	if _, err := apt(ctx, dir, "apt-get", args...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err == nil && len(files) != len(debs) {
		err = fmt.Errorf("apt-get downloaded %d files for %d packages", len(files), len(debs))
	}
	slices.Sort(files)
	return files, err
}

// kernelPackage returns the newest cloud kernel of a series like "6.1".
func kernelPackage(ctx context.Context, series string) (deb, error) {
	text, err := apt(ctx, "", "apt-cache", "pkgnames", "linux-image-"+series+".")
	if err != nil {
		return deb{}, err
	}
	name := newest(strings.Fields(text))
	if name == "" {
		return deb{}, fmt.Errorf("apt knows no kernel of Debian's %s series; Debian 12 has it after apt-get update", series)
	}
	debs, err := parseShow(apt(ctx, "", "apt-cache", "show", "--no-all-versions", name))
	if err != nil {
		return deb{}, err
	}
	return debs, nil
}

// parseShow reads name and version of the package that apt-cache show prints.
func parseShow(text string, err error) (deb, error) {
	var d deb
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case key == "Package" && d.name == "":
			d.name = value
		case key == "Version" && d.version == "":
			d.version = value
		}
	}
	if err == nil && (d.name == "" || d.version == "") {
		err = fmt.Errorf("apt-cache show printed no name and version: %q", text)
	}
	return d, err
}

// newest returns the name of the newest cloud kernel among names, "" where there is none.
func newest(names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, "-cloud-amd64") })
	if len(names) == 0 {
		return ""
	}
	return slices.MaxFunc(names, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
}

// numbers are the numbers in s, in their order.
func numbers(s string) []int {
	var ns []int
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(f) // too long a number, which no version has, is the greatest
		ns = append(ns, n)
	}
	return ns
}

// apt runs one of apt's programs in the folder dir and returns what it prints.
func apt(ctx context.Context, dir, program string, args ...string) (string, error) {
	options := []string{"-q", "-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=3"}
	if os.Geteuid() == 0 {
		options = append(options, "-o", "APT::Sandbox::User=root") // the folder is not apt's own user's
	}
	c := exec.CommandContext(ctx, program, append(options, args...)...)
	c.Dir, c.Env = dir, append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w; it may help to run, as root: apt-get update\n%s", program, args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
