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
)

const sysctlRoot = "/proc/sys"

// readSysctls adds those of the named parameters that the kernel has.
func (k *Kernel) readSysctls(names []string, s *State) error {
	if len(names) == 0 {
		return nil
	}
	return k.Inside(func() error {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(sysctlRoot, name))
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
			// Opened without O_CREATE: a parameter that does not exist says so.
			f, err := os.OpenFile(filepath.Join(sysctlRoot, s.Name), os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString(s.Value)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				failed(s, err)
			}
		}
		return nil
	})
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
