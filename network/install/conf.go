package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-network/weft/subnet"
)

// target is where the configuration is installed.
func (i *Installer) target() string { return filepath.Join(i.o.ConfDir, i.o.ConfName) }

// conf keeps the configuration as it should be.
func (i *Installer) conf(letPodsIn bool, out *Outcome) error {
	inForce, err := i.choose(out)
	if err != nil {
		return err
	}
	if letPodsIn {
		err = i.put(inForce, out)
	}
	out.Warnings = append(out.Warnings, i.rivals()...)
	out.Warnings = append(out.Warnings, i.lacking()...)
	return err
}

// choose finds the configuration to install: that of the source, or where it cannot be used the last good one. It tells
// whether the one that is installed can be used.
func (i *Installer) choose(out *Outcome) (inForce bool, err error) {
	text, err := os.ReadFile(i.o.Conf)
	if err == nil {
		_, err = parseConf(text)
	}
	switch {
	case err == nil:
		i.good = text
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("there is no CNI configuration to install at %s; put one there", i.o.Conf)
	default:
		err = fmt.Errorf("the CNI configuration %s is refused: %w", i.o.Conf, err)
	}
	installed, errInstalled := os.ReadFile(i.target())
	if errInstalled == nil {
		_, errInstalled = parseConf(installed)
	}
	inForce = errInstalled == nil
	if err != nil && inForce && i.good == nil {
		i.good = installed
	}
	if err != nil && i.good == nil {
		return inForce, err
	}
	if err != nil {
		out.Warnings = append(out.Warnings, err.Error()+"; the last good one stays in force")
	}
	return inForce, nil
}

// put installs the configuration, and then takes off what was installed under other names. Where one is in force that can
// be used, a failure is a warning.
func (i *Installer) put(inForce bool, out *Outcome) error {
	changed, err := subnet.WriteFile(i.target(), i.good, 0o600)
	if changed {
		out.Changed = append(out.Changed, i.target())
	}
	if err == nil {
		i.supersede(out)
		return nil
	}
	err = fmt.Errorf("installing the CNI configuration %s: %w", i.target(), cause(err))
	if inForce {
		out.Warnings = append(out.Warnings, err.Error()+"; the old one stays in force")
		return nil
	}
	return err
}

// supersede removes what was installed before the name was changed. Nobody would keep it, or take it off after a reboot.
func (i *Installer) supersede(out *Outcome) {
	for _, path := range i.earlier() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			out.Warnings = append(out.Warnings, fmt.Sprintf("removing the CNI configuration %s, in place of which there is %s: %v", path, i.o.ConfName, cause(err)))
			continue
		}
		out.Changed = append(out.Changed, path)
		i.o.Log.WithField("configuration", path).Info("CNI configuration of an earlier name removed")
	}
}

// earlier are the configurations of the same network under other names.
func (i *Installer) earlier() []string {
	var paths []string
	for _, name := range i.configurations() {
		path := filepath.Join(i.o.ConfDir, name)
		text, err := os.ReadFile(path)
		if err == nil && name != i.o.ConfName && !isLink(path) && sameNetwork(text, i.good) {
			paths = append(paths, path)
		}
	}
	return paths
}

// configurations are the names of the files that a runtime looks at, in the order in which it takes them.
func (i *Installer) configurations() []string {
	entries, err := os.ReadDir(i.o.ConfDir)
	if err != nil {
		return nil // comes up when the configuration is installed
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && IsConfiguration(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Retract takes the configuration off the host, also under the name that it had before, so that the runtime does not
// believe in a network that is not there. It tells whether there was one. One that could be used is remembered for the
// case that the source cannot be.
func (i *Installer) Retract() (removed bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, path := range []string{i.target(), i.o.Conf} {
		if text, err := os.ReadFile(path); err == nil && i.good == nil {
			if _, err := parseConf(text); err == nil {
				i.good = text
			}
		}
	}
	var errs []error
	for _, path := range append(i.earlier(), i.target()) {
		switch err := os.Remove(path); {
		case err == nil:
			removed = true
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("removing the CNI configuration %s of before the reboot: %w", path, cause(err)))
		}
	}
	return removed, errors.Join(errs...)
}

// IsConfiguration tells whether container runtimes read a file of this name in the folder of their configurations.
func IsConfiguration(name string) bool {
	return slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name))
}

// rivals warns of configurations that the runtime takes in place of ours.
func (i *Installer) rivals() []string {
	var list []string
	for _, name := range i.configurations() {
		if name < i.o.ConfName {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the container runtime takes the CNI configuration %s in %s, whose name comes before %s: remove it, or give Weft's a name that comes first (--cni-conf-name)",
		strings.Join(list, " and "), i.o.ConfDir, i.o.ConfName)}
}

// lacking warns of plugins that the configuration names and that are not on the host.
func (i *Installer) lacking() []string {
	kinds, err := parseConf(i.good)
	if err != nil {
		return nil
	}
	var list []string
	for _, kind := range kinds {
		if _, err := os.Stat(filepath.Join(i.o.BinDir, kind)); errors.Is(err, fs.ErrNotExist) && !isLink(filepath.Join(i.o.BinDir, kind)) {
			list = append(list, kind)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the CNI configuration names plugins that are not in %s: %s; install them there, or pods cannot be made", i.o.BinDir, strings.Join(list, ", "))}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
