package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/subnet"
)

// Options say what is installed from where to where. All but Log must be set; Check tells.
type Options struct {
	SourceDir string // folder with the plugins to install
	BinDir    string // folder where the container runtime looks for plugins
	Conf      string // the network configuration list to install, such as a file of a mounted ConfigMap
	ConfDir   string // folder where the container runtime looks for configurations
	ConfName  string // name of the configuration there; runtimes take the first name that ends in .conf, .conflist or .json

	Log logrus.FieldLogger // nil logs nothing
}

// Check names every mistake.
func (o Options) Check() error {
	var errs []error
	for _, dir := range []struct{ what, path string }{
		{"folder of the plugins to install", o.SourceDir}, {"folder of the host's CNI plugins", o.BinDir},
		{"file of the CNI configuration", o.Conf}, {"folder of the host's CNI configuration", o.ConfDir},
	} {
		if dir.path == "" {
			errs = append(errs, fmt.Errorf("the %s is not named", dir.what))
		}
	}
	if strings.Contains(o.ConfName, "/") || filepath.Ext(o.ConfName) != ".conflist" || o.ConfName == ".conflist" {
		errs = append(errs, fmt.Errorf("the name %q of the CNI configuration is not the name of a file that ends in .conflist", o.ConfName))
	}
	return errors.Join(errs...)
}

// Installer installs plugins and configuration. Make it with New. Its methods are safe for concurrent use.
type Installer struct {
	o Options

	mu    sync.Mutex
	seen  map[string]look   // what was found out of a plugin, by its name
	said  map[string]string // what was logged of a plugin, by its name
	good  []byte            // the last configuration that could be used; nil while none was seen
	swept bool              // what an installation left behind that was killed is gone
}

// New makes an installer. It changes nothing yet.
func New(o Options) *Installer {
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = quiet
	}
	return &Installer{o: o, seen: map[string]look{}, said: map[string]string{}}
}

// Outcome is what a pass found and did.
type Outcome struct {
	Changed  []string // paths of the files that were written
	Warnings []string // a sentence for each thing that works but should not stay so
}

// Sync makes one pass: it installs the plugins that are missing, damaged or older than those in the source folder, and
// then, where pods may be let in, the configuration. What is right is not touched. The error says why pods cannot be
// made with what is on the host; what it names was tried and has to be tried again. It leaves the old file where it
// cannot write a new one.
func (i *Installer) Sync(ctx context.Context, letPodsIn bool) (Outcome, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out Outcome
	if !i.swept {
		i.swept = i.sweep() == nil
	}
	errPlugins := i.plugins(ctx, &out)
	if errPlugins != nil || ctx.Err() != nil {
		return out, errors.Join(errPlugins, ctx.Err())
	}
	err := i.conf(letPodsIn, &out)
	return out, err
}

// Retract takes the configuration of this name off the host, so that the runtime does not believe in a network that
// is not there. It tells whether there was one. One that could be used is remembered for the case that the source
// cannot be.
func (i *Installer) Retract() (removed bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if text, err := os.ReadFile(i.target()); err == nil && i.good == nil {
		if _, err := parseConf(text); err == nil {
			i.good = text
		}
	}
	err = os.Remove(i.target())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the CNI configuration %s of before the reboot: %w", i.target(), cause(err))
	}
	return true, nil
}

// target is where the configuration is installed.
func (i *Installer) target() string { return filepath.Join(i.o.ConfDir, i.o.ConfName) }

// sweep removes what an installation left beside its targets that was killed before it could rename it.
func (i *Installer) sweep() error {
	names, _, err := i.sources()
	if err != nil {
		return err
	}
	errs := []error{removeAll(Leftovers(i.o.ConfDir, i.o.ConfName))}
	for _, name := range names {
		errs = append(errs, removeAll(Leftovers(i.o.BinDir, name)))
	}
	return errors.Join(errs...)
}

// Leftovers returns the files in dir that an installation of the file name left behind when it was killed.
func Leftovers(dir, name string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // what is not there has none; other failures come up when something is installed
	}
	var paths []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), "."+name+".")
		if ok && rest != "" && strings.Trim(rest, "0123456789") == "" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

func removeAll(paths []string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// cause is what the system said, without the name of a temporary file, which would make the same failure another
// sentence each time; with it comes what to do about it.
func cause(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w%s", errno, remedy(err))
}

// remedy says what to do about an error of writing on the host, or nothing.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "; it is mounted read-only: mount the host's folder writable, or leave out --cni-install"
	case errors.Is(err, fs.ErrPermission):
		return "; give the folder to root (chown root), or weftd the capability DAC_OVERRIDE"
	case errors.Is(err, fs.ErrNotExist):
		return "; if the folder was removed on the host while weftd's container has it mounted, restart weftd"
	default:
		return ""
	}
}

// conf keeps the configuration as it should be.
func (i *Installer) conf(letPodsIn bool, out *Outcome) error {
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
	inForce, errInForce := os.ReadFile(i.target())
	if errInForce == nil {
		_, errInForce = parseConf(inForce)
	}
	if err != nil && errInForce == nil && i.good == nil {
		i.good = inForce
	}
	if err != nil && i.good == nil {
		return err
	}
	if err != nil {
		out.Warnings = append(out.Warnings, err.Error()+"; the last good one stays in force")
	}
	out.Warnings = append(out.Warnings, i.rivals()...)
	out.Warnings = append(out.Warnings, i.lacking()...)
	if !letPodsIn {
		return nil
	}
	changed, err := subnet.WriteFile(i.target(), i.good, 0o600)
	if changed {
		out.Changed = append(out.Changed, i.target())
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("installing the CNI configuration %s: %w", i.target(), cause(err))
	if errInForce == nil {
		out.Warnings = append(out.Warnings, err.Error()+"; the old one stays in force")
		return nil
	}
	return err
}

// rivals warns of configurations that the runtime takes in place of ours.
func (i *Installer) rivals() []string {
	entries, err := os.ReadDir(i.o.ConfDir)
	if err != nil {
		return nil // comes up when the configuration is installed
	}
	var list []string
	for _, e := range entries { // in the order of their names, as runtimes take them
		if e.Name() < i.o.ConfName && !e.IsDir() && slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name())) {
			list = append(list, e.Name())
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
