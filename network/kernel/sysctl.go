package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// readSysctls adds those of the named parameters that the kernel has.
func (k *Kernel) readSysctls(names []string, s *State) error {
	if len(names) == 0 {
		return nil
	}
	return k.Inside(func() error {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(SysctlDir, name))
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read the kernel parameter %s: %w", name, err)
			}
			s.Sysctls.Add(Sysctl{name, strings.Join(strings.Fields(string(b)), " ")})
		}
		return nil
	})
}

// writeSysctls sets parameters. Each failure is handed to failed; the error says that none could be tried.
func (k *Kernel) writeSysctls(set Set[string, Sysctl], failed func(s Sysctl, err error)) error {
	if len(set) == 0 {
		return nil
	}
	return k.Inside(func() error {
		for _, s := range inOrder(set) {
			err := k.writeSysctl(s)
			if err != nil {
				failed(s, err)
			}
		}
		return nil
	})
}

// writeSysctl sets one parameter.
func (k *Kernel) writeSysctl(s Sysctl) error {
	// Opened without O_CREATE: a parameter that does not exist says so.
	f, err := os.OpenFile(filepath.Join(k.sysctlDir, s.Name), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(s.Value)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		return nil
	}
	_, missing := os.Stat(filepath.Join(SysctlDir, s.Name))
	notThere := errors.Is(err, fs.ErrNotExist) && missing == nil // the folder is not the kernel's
	if notThere || errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return err
}

// ErrUnwritable is the reason of a Failure where this process may not set a parameter that the kernel has.
var ErrUnwritable = errors.New("it cannot be set from here")

// Unwritable splits an error of Apply: into the parameters that failed with ErrUnwritable, with the reasons, and all
// other failures, nil where there are none.
func Unwritable(err error) (sysctls map[Sysctl]error, others error) {
	switch e := err.(type) {
	case Failures:
		var rest Failures
		for _, f := range e {
			if s, ok := f.Object.(Sysctl); ok && errors.Is(f.Err, ErrUnwritable) {
				if sysctls == nil {
					sysctls = map[Sysctl]error{}
				}
				sysctls[s] = f.Err
			} else {
				rest = append(rest, f)
			}
		}
		if len(rest) > 0 {
			others = rest
		}
		return sysctls, others
	case interface{ Unwrap() []error }:
		var rest []error
		for _, part := range e.Unwrap() {
			more, other := Unwritable(part)
			rest = append(rest, other)
			if more != nil {
				sysctls = more // of all parts one at most is a Failures
			}
		}
		return sysctls, errors.Join(rest...)
	default:
		return nil, err
	}
}

// Command is the command that sets the parameter on the host.
func (s Sysctl) Command() string {
	name := s.Name
	if !strings.Contains(name, ".") { // in the name of a device, where a dot would be taken for a slash
		name = strings.ReplaceAll(name, "/", ".")
	}
	return "sysctl -w " + name + "=" + s.Value
}

// inOrder returns the parameters in the order in which they are to be set: forwarding last. When IPv6 forwarding is turned
// on, the kernel drops the default routes that came by router advertisements, except on devices that were told before to keep them.
func inOrder(set Set[string, Sysctl]) []Sysctl {
	rank := func(s Sysctl) int {
		if strings.HasSuffix(s.Name, "forward") || strings.HasSuffix(s.Name, "forwarding") {
			return 1
		}
		return 0
	}
	list := sorted(set)
	slices.SortStableFunc(list, func(x, y Sysctl) int { return cmp.Compare(rank(x), rank(y)) })
	return list
}
