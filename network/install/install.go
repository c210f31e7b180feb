package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
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

	mu   sync.Mutex
	seen map[string]look   // what was found out of a plugin, by its name
	said map[string]string // what was logged of a plugin, by its name
	good []byte            // the last configuration that could be used; nil while none was seen
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
	i.sweep()
	errPlugins := i.plugins(ctx, &out)
	if errPlugins != nil || ctx.Err() != nil {
		return out, errors.Join(errPlugins, ctx.Err())
	}
	err := i.conf(letPodsIn, &out)
	return out, err
}

// abandoned is the age from which a file that is half written is nobody's. Writing one takes milliseconds.
const abandoned = time.Minute

// sweep removes what an installation left beside its targets that was killed before it could rename it, and nothing that
// another agent of this host, which is about to end, is writing. What cannot be removed has the next pass.
func (i *Installer) sweep() {
	left := Leftovers(i.o.ConfDir, i.o.ConfName)
	names, _, _ := i.sources() // an error comes up when they are installed
	for _, name := range names {
		left = append(left, Leftovers(i.o.BinDir, name)...)
	}
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(path)
		}
	}
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
