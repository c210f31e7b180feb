package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weft-network/weft/network"
)

// defaultSocket is where weftd listens unless it is told otherwise.
const defaultSocket = "/run/weft/weftd.sock"

const statusHelp = `status asks weftd on this node how it is: its own lease, the uplink and why it
is the one, every peer and whether the kernel serves it, whether kernel and
firewall are in step, and what weftd waits for.

Where weftd serves several networks, all of that comes once for each.

Exit status: 0 ready, 1 not ready, 2 weftd could not be asked.`

// agentAddress says where weftd is asked: at a TCP address if there is one, else at a unix socket.
type agentAddress struct {
	socket string
	tcp    string
}

// dial returns what net.Dial takes.
func (a agentAddress) dial() (network, address string) {
	if a.tcp != "" {
		return "tcp", a.tcp
	}
	return "unix", a.socket
}

func newStatusCommand(env func(string) string) *cobra.Command {
	var at agentAddress
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show how weftd on this node is",
		Long:  statusHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runStatus(cmd.Context(), at, output, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&at.socket, "socket", fromEnv(env, "WEFTD_SOCKET", defaultSocket), "unix socket of weftd")
	cmd.Flags().StringVar(&at.tcp, "address", "", "address of weftd as host:port, in place of the socket")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.MarkFlagsMutuallyExclusive("socket", "address")
	return cmd
}

// fromEnv returns the value of a variable, which is named as weftd's own for the same flag, or else fallback.
func fromEnv(env func(string) string, name, fallback string) string {
	if s := env(name); s != "" {
		return s
	}
	return fallback
}

func runStatus(ctx context.Context, at agentAddress, output string, stdout io.Writer) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("output format %q: it is text or json", output)
	}
	body, err := fetchStatus(ctx, at)
	if err != nil {
		return err
	}
	var s network.Status
	if err := json.Unmarshal(body, &s); err != nil {
		_, address := at.dial()
		return fmt.Errorf("the answer of %s is not a status of weftd: %w", address, err)
	}
	if output == "json" {
		_, err = stdout.Write(body)
	} else {
		err = printStatus(stdout, s, time.Now())
	}
	if err == nil && !allReady(s) {
		err = errNo
	}
	return err
}

// allReady tells whether all networks of the node are.
func allReady(s network.Status) bool {
	return s.Ready && !slices.ContainsFunc(s.Networks, func(x network.Status) bool { return !x.Ready })
}

// fetchStatus asks weftd for its status and returns the JSON as it came.
func fetchStatus(ctx context.Context, at agentAddress) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := askAgent(ctx, at, http.MethodGet, "/status", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, address := at.dial()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask weftd at %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask weftd at %s: it answered %q; is that the address of a weftd?",
			address, strings.TrimSpace(resp.Status))
	}
	return body, nil
}

// askAgent sends weftd a request. The caller closes the body of the answer.
func askAgent(ctx context.Context, at agentAddress, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://weftd"+path, body)
	if err != nil {
		return nil, err
	}
	kind, address := at.dial()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, kind, address)
		},
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask weftd at %s: %w%s", address, err, remedy(err))
	}
	return resp, nil
}

// remedy says what to do about an error of dialing weftd, or nothing.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return "\n  weftd does not run here: start it (systemctl start weftd), see why it ended (journalctl -u weftd)," +
			"\n  or say where it listens (--socket or --address)"
	case errors.Is(err, fs.ErrPermission):
		return "\n  only root may ask it: run weftctl as root"
	case errors.Is(err, context.DeadlineExceeded):
		return "\n  something listens there and does not answer: see journalctl -u weftd"
	default:
		return ""
	}
}
