package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// plugin carries out the commands of the CNI. Its methods add, del, check, status and gc are what skel calls; they
// return a *types.Error wherever the CNI has a code for what went wrong.
//
// It runs its delegates itself, since package invoke of the CNI brings an HTTP stack with it for the sake of tracing:
// that makes the binary 2 MB larger and costs a millisecond of CPU in every call, a third of all that this plugin takes.
type plugin struct {
	log *log.Logger // what a command got over without failing, and what delegates say beside their result
}

// call is one call of a delegate.
type call struct {
	command     string
	containerID string
	netns       string
	ifName      string
	args        string
	path        string
}

// callOf returns the call that passes on a call of this plugin.
func callOf(command string, args *skel.CmdArgs) call {
	return call{command, args.ContainerID, args.Netns, args.IfName, args.Args, args.Path}
}

// errNotInstalled says that there is no plugin of the delegate's name where plugins are.
var errNotInstalled = errors.New("delegate is not installed")

// find returns where the delegate's binary is. Its error is errNotInstalled.
func find(kind, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		binary := filepath.Join(dir, kind)
		if info, err := os.Stat(binary); err == nil && info.Mode().IsRegular() {
			return binary, nil
		}
	}
	return "", fmt.Errorf("%w: no plugin %q in %s: install it there, or name another in \"delegate\"", errNotInstalled, kind, path)
}

// run has the delegate carry out a command, and returns what it printed. Its error is errNotInstalled, or a
// *types.Error that says whose it is and has the delegate's code.
func (p plugin) run(d delegate, c call) ([]byte, error) {
	binary, err := find(d.kind, c.path)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+c.command, "CNI_CONTAINERID="+c.containerID, "CNI_NETNS="+c.netns,
		"CNI_IFNAME="+c.ifName, "CNI_ARGS="+c.args, "CNI_PATH="+c.path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(encode(d.conf)), &stdout, &stderr
	err = cmd.Run()
	said := strings.TrimSpace(stderr.String())
	if err != nil {
		return nil, failed(fmt.Sprintf("%s by delegate %q", c.command, d.kind), stdout.Bytes(), said, err)
	}
	if said != "" {
		p.log.Printf("%s by delegate %q: %s", c.command, d.kind, said)
	}
	return stdout.Bytes(), nil
}

// failed is the error of a delegate that ended with err and printed these: an error of the CNI, or something else.
func failed(what string, stdout []byte, stderr string, err error) *types.Error {
	var said types.Error
	if json.Unmarshal(stdout, &said) != nil || said.Msg == "" {
		printed := strings.TrimSpace(strings.TrimSpace(string(stdout)) + " " + stderr)
		return types.NewError(types.ErrInternal, fmt.Sprintf("%s: %v, having said %q", what, err, printed), "")
	}
	if said.Code == types.ErrUnknown {
		said.Code = types.ErrInternal
	}
	return types.NewError(said.Code, what+": "+said.Msg, said.Details)
}
