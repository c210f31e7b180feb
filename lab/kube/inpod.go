package kube

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Do runs f on a thread in the network namespace of the pod, with the files of its node, and returns its error. Sockets
// that f opens stay inside; goroutines that it starts run outside.
func (p *Pod) Do(f func() error) error {
	space, err := p.namespace()
	if err != nil {
		return err
	}
	return p.Node.Do(func() error {
		if space != "" {
			if err := joinNetwork(space); err != nil {
				return fmt.Errorf("enter pod %s: %w", p.Name, err)
			}
		}
		return f()
	})
}

// joinNetwork moves the calling thread into a network namespace.
func joinNetwork(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
}
