package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-network/weft/network"
)

const rotateHelp = `rotate gives this node another private key for WireGuard, while its pods talk.
For a while the node has a second device with the new key, at the next ports
after those of the config. When every peer has gone over to it, the usual device
gets the new key, and the peers come back.

weftd does it and goes on by itself: this command shows how far it is. It may be
interrupted; the same command shows it again. Until every peer has followed the
old key stays valid, also for nodes that are down.

Exit status: 0 when it is over, 1 refused, 2 where weftd could not be asked.`

// followEvery is how often weftd is asked how far it is.
const followEvery = 500 * time.Millisecond

func newWireGuardCommand(env func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wireguard",
		Short: "change the private key of this node for WireGuard",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var socket, name string
	var o network.RotateOptions
	var background bool
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "give this node another private key without losing a packet",
		Long:  rotateHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRotate(cmd.Context(), agentAddress{socket: socket}, name, o, background, cmd.OutOrStdout())
		},
	}
	rotate.Flags().StringVar(&socket, "socket", fromEnv(env, "WEFTD_SOCKET", defaultSocket), "unix socket of weftd")
	rotate.Flags().StringVar(&name, "network", "", "the network of which the key is, where weftd serves several; default the first")
	rotate.Flags().BoolVar(&o.Force, "force", false, "leave peers behind that run flanneld, or that have not followed after half a minute")
	rotate.Flags().BoolVar(&o.Abort, "abort", false, "give up a change that is under way and keep the old key")
	rotate.Flags().BoolVar(&background, "background", false, "do not wait until it is over")
	rotate.MarkFlagsMutuallyExclusive("force", "abort")
	cmd.AddCommand(rotate)
	return cmd
}

func runRotate(ctx context.Context, at agentAddress, name string, o network.RotateOptions, background bool, stdout io.Writer) error {
	if err := order(ctx, at, "/wireguard/rotate?network="+url.QueryEscape(name), o, stdout); err != nil {
		return err
	}
	if background {
		return nil
	}
	told := ""
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		s, err := readStatus(ctx, at, name)
		switch {
		case ctx.Err() != nil:
			return errors.New("weftd goes on with the change; the same command shows how far it is")
		case err == nil && s.Rotation == nil:
			fmt.Fprintln(stdout, "done")
			return nil
		case err == nil:
			if text := rotationText(*s.Rotation); text != told {
				fmt.Fprintln(stdout, text)
				told = text
			}
		case told != "no answer": // it may be restarted just now
			fmt.Fprintf(stdout, "weftd does not answer: %s\n", plain(err.Error()))
			told = "no answer"
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// order gives weftd an order. Where weftd refuses it, the reason is printed and the error is errNo.
func order(ctx context.Context, at agentAddress, path string, what any, stdout io.Writer) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, address := at.dial()
	resp, err := askAgent(ctx, at, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return fmt.Errorf("ask weftd at %s: %w", address, err)
	case resp.StatusCode == http.StatusConflict:
		fmt.Fprintf(stdout, "refused: %s\n", plain(strings.TrimSpace(string(answer))))
		return errNo
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("ask weftd at %s: this weftd does not know how to change its key; it is older than this weftctl", address)
	case resp.StatusCode != http.StatusNoContent:
		return fmt.Errorf("ask weftd at %s: it answered %q", address, strings.TrimSpace(resp.Status))
	}
	return nil
}

// readStatus asks weftd for the status of one of its networks; "" is the first.
func readStatus(ctx context.Context, at agentAddress, name string) (s network.Status, err error) {
	body, err := fetchStatus(ctx, at)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		_, address := at.dial()
		return s, fmt.Errorf("the answer of %s is not a status of weftd: %w", address, err)
	}
	for _, other := range s.Networks {
		if name != "" && other.Network == name {
			return other, nil
		}
	}
	if name != s.Network {
		return s, fmt.Errorf("weftd tells nothing of a network %q", name)
	}
	return s, nil
}

// rotationText tells in a line how far a change of the private key is.
func rotationText(r network.RotationStatus) string {
	texts := map[string]string{
		"waiting":   "waiting for the change of another node's key to end",
		"moving":    "peers go over to the new key " + r.PublicKey,
		"returning": "the new key " + r.PublicKey + " is in force, peers come back to the usual ports",
		"undoing":   "given up, peers come back to the old key",
	}
	text := texts[r.Stage]
	if text == "" {
		text = r.Stage
	}
	text += fmt.Sprintf(": %d of %d have followed", r.Peers-len(r.Missing), r.Peers)
	const most = 3
	missing := slices.Clone(r.Missing)
	if more := len(missing) - most; more > 0 {
		missing = append(missing[:most], fmt.Sprintf("and %d more", more))
	}
	if len(missing) > 0 {
		text += "; missing: " + strings.Join(missing, "; ")
	}
	return plain(text)
}
