package control

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal for a command in the background, so that a shell there has job control, and keys like Ctrl-C
// reach what runs there. What is typed on the outer terminal goes in, and what is printed comes out.
type terminal struct {
	outer  *os.File     // the user's terminal
	before unix.Termios // how it was set
	master *os.File     // our end
	slave  *os.File     // the command's end
	done   [2]*os.File  // a pipe; closing the second ends the copying
	copies errgroup.Group
}

// isTerminal tells whether f is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// newTerminal makes a pseudo terminal of the outer one's size and hands the outer one's keys over to it.
func newTerminal(outer *os.File) (*terminal, error) {
	t := &terminal{outer: outer}
	before, err := unix.IoctlGetTermios(int(outer.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the settings of the terminal: %w", err)
	}
	t.before = *before
	if err := t.open(); err != nil {
		return nil, errors.Join(err, t.shut())
	}
	if size, err := unix.IoctlGetWinsize(int(outer.Fd()), unix.TIOCGWINSZ); err == nil {
		err = unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, size)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("size the pseudo terminal: %w", err), t.shut())
		}
	}
	if err := unix.IoctlSetTermios(int(outer.Fd()), unix.TCSETS, raw(t.before)); err != nil {
		return nil, errors.Join(fmt.Errorf("hand over the keys of the terminal: %w", err), t.shut())
	}
	return t, nil
}

// open makes the two ends and the pipe.
func (t *terminal) open() error {
	var err error
	if t.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return fmt.Errorf("open a pseudo terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(t.master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock the pseudo terminal: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, t.master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("open the other end of the pseudo terminal: %w", errno)
	}
	t.slave = os.NewFile(fd, "slave")
	t.done[0], t.done[1], err = os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	return nil
}

// raw is what cfmakeraw makes of a terminal's settings: every key goes through as it is.
func raw(s unix.Termios) *unix.Termios {
	s.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	s.Oflag &^= unix.OPOST
	s.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	s.Cflag = s.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	return &s
}

// handOver begins to copy, after the other end was given away.
func (t *terminal) handOver(out io.Writer) error {
	if err := t.slave.Close(); err != nil {
		return fmt.Errorf("close the other end of the pseudo terminal: %w", err)
	}
	t.copies.Go(func() error {
		_, _ = io.Copy(out, t.master) // ends with EIO when the command and all of its children are gone
		return nil
	})
	t.copies.Go(t.typed)
	return nil
}

// typed copies what is typed. It looks before it reads, so that it takes no key after the end.
func (t *terminal) typed() error {
	buf := make([]byte, 1024)
	for {
		fds := []unix.PollFd{{Fd: int32(t.outer.Fd()), Events: unix.POLLIN}, {Fd: int32(t.done[0].Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for a key: %w", err)
		}
		if fds[1].Revents != 0 {
			return nil
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := t.outer.Read(buf)
		if err != nil {
			return nil // the outer terminal is gone
		}
		if _, err := t.master.Write(buf[:n]); err != nil {
			return nil // and so is the inner one
		}
	}
}

// shut ends the copying and gives the keys back.
func (t *terminal) shut() error {
	var errs []error
	if t.done[1] != nil {
		errs = append(errs, t.done[1].Close())
	}
	if t.slave != nil {
		_ = t.slave.Close() // handOver may have done it
	}
	errs = append(errs, t.copies.Wait(), unix.IoctlSetTermios(int(t.outer.Fd()), unix.TCSETS, &t.before))
	for _, f := range []*os.File{t.master, t.done[0]} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
