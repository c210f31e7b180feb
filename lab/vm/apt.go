package vm

import (
	"bytes"
	"cmp"
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

// source is what apt knows of packages: by the lists of this machine, or by lists that were fetched for this.
type source struct{ lists string }

// systemLists is where this machine's lists are.
const systemLists = "/var/lib/apt/lists"

// fetchLists puts the newest lists of this machine's archives into the folder dir.
func fetchLists(ctx context.Context, dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "partial"), 0o755); err != nil {
		return err
	}
	_, err := source{dir}.apt(ctx, "", "apt-get", "update")
	return err
}

// resolve returns what is to be unpacked to have packages: themselves and all that they depend on, as if nothing were installed.
func (s source) resolve(ctx context.Context, packages []string) ([]deb, error) {
	return s.remember(ctx, packages, func(dir string) ([]deb, error) {
		nothing := filepath.Join(dir, "status")
		if err := os.WriteFile(nothing, nil, 0o644); err != nil {
			return nil, err
		}
		text, err := s.apt(ctx, dir, "apt-get", append([]string{"install", "--print-uris", "--no-install-recommends", "-y", "-o", "Dir::State::status=" + nothing}, packages...)...)
		if err != nil {
			return nil, err
		}
		debs, err := parseURIs(text)
		return slices.DeleteFunc(debs, func(d deb) bool { return isIdle(d.name) }), err
	})
}

// kernel returns the newest cloud kernel of a series like "6.1".
func (s source) kernel(ctx context.Context, series string) (deb, error) {
	debs, err := s.remember(ctx, []string{"linux", series}, func(dir string) ([]deb, error) {
		text, err := s.apt(ctx, dir, "apt-cache", "pkgnames", "linux-image-"+series+".")
		if err != nil {
			return nil, err
		}
		name := newest(strings.Fields(text))
		if name == "" {
			return nil, fmt.Errorf("apt knows no kernel of the %s series; the archives of Debian 12 have it", series)
		}
		if text, err = s.apt(ctx, dir, "apt-cache", "show", "--no-all-versions", name); err != nil {
			return nil, err
		}
		d, err := parseShow(text)
		return []deb{d}, err
	})
	if err != nil {
		return deb{}, err
	}
	return debs[0], nil
}

// remember returns what find finds, or found earlier with the same lists: apt needs a second each time.
func (s source) remember(ctx context.Context, question []string, find func(dir string) ([]deb, error)) ([]deb, error) {
	lists, err := os.Stat(cmp.Or(s.lists, systemLists)) // an update renames files in it
	if err != nil {
		return nil, fmt.Errorf("lists of Debian packages: %w", err)
	}
	dir, err := cached(ctx, "answer", append([]string{s.lists, lists.ModTime().String()}, question...), func(dir string) error {
		debs, err := find(dir)
		var text strings.Builder
		for _, d := range debs {
			fmt.Fprintln(&text, d.name, d.version)
		}
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "packages"), []byte(text.String()), 0o644))
	})
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "packages"))
	if err != nil {
		return nil, err
	}
	var debs []deb
	for line := range strings.Lines(string(text)) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		debs = append(debs, deb{name, version})
	}
	if len(debs) == 0 {
		return nil, fmt.Errorf("%s names no package", filepath.Join(dir, "packages"))
	}
	return debs, nil
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
func (s source) download(ctx context.Context, dir string, debs []deb) ([]string, error) {
	args := []string{"download"}
	for _, d := range debs {
		args = append(args, d.name+"="+d.version)
	}
	if _, err := s.apt(ctx, dir, "apt-get", args...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err == nil && len(files) != len(debs) {
		err = fmt.Errorf("apt-get downloaded %d files for %d packages", len(files), len(debs))
	}
	slices.Sort(files)
	return files, err
}

// parseShow reads name and version of the package that apt-cache show prints.
func parseShow(text string) (deb, error) {
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
	if d.name == "" || d.version == "" {
		return d, fmt.Errorf("apt-cache show printed no name and version: %q", text)
	}
	return d, nil
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

// apt runs one of apt's programs in the folder dir and returns what it prints. It changes nothing of this machine's.
func (s source) apt(ctx context.Context, dir, program string, args ...string) (string, error) {
	options := []string{"-q", "-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=3", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="}
	if os.Geteuid() == 0 {
		options = append(options, "-o", "APT::Sandbox::User=root") // the folder is not apt's own user's
	}
	if s.lists != "" {
		options = append(options, "-o", "Dir::State::lists="+s.lists)
	}
	c := exec.CommandContext(ctx, program, append(options, args...)...)
	c.Dir, c.Env = dir, append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
