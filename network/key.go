package network

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// secret is the node's private key for WireGuard. It is made once, and written down when a backend needs it.
type secret struct {
	key     kernel.Key
	from    string // where it was found, in words
	written bool
}

// findKey finds the key of this node: the one of its file, else that of a device that runs, else flanneld's, so that peers need not
// learn another one; else it makes one.
func (a *Agent) findKey(ctx context.Context) error {
	k := &a.loop.secret
	if k.key != (kernel.Key{}) {
		return nil
	}
	if a.o.KeyFile != "" {
		err := a.rotations.load(a.o.KeyFile + ".rotation")
		a.report.warn(a.o.Log, "change of keys", texts(err))
	}
	if r := a.rotations.now(); r.stage == returning {
		*k = secret{key: r.key, from: "a change of keys"} // the file may hold the old one
		return nil
	}
	key, err := readKey(a.o.KeyFile)
	if err == nil {
		*k = secret{key: key, from: "its file", written: true}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		a.o.Log.WithError(err).Warn("the file with the private key for WireGuard cannot be used, another one takes its place")
	}
	if key, err = a.kern.WireGuardKey(ctx); err != nil {
		return err
	}
	if key != (kernel.Key{}) {
		*k = secret{key: key, from: "a running device"}
		return nil
	}
	if key, err = readKey(filepath.Join(filepath.Dir(a.o.SubnetFile), flannelKeyFile)); err == nil {
		*k = secret{key: key, from: "flanneld"}
		return nil
	}
	if key, err = makeKey(); err != nil {
		return err
	}
	*k = secret{key: key, from: "new"}
	return nil
}

// makeKey makes a private key.
func makeKey() (kernel.Key, error) {
	made, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return kernel.Key{}, fmt.Errorf("making a private key for WireGuard: %w", err)
	}
	return clamped(kernel.Key(made.Bytes())), nil
}

// flannelKeyFile is where flanneld keeps its key, beside subnet.env.
const flannelKeyFile = "wgkey"

// keepKey writes the key down where one of the ways needs it. Without the file the node has a key until its next boot.
func (a *Agent) keepKey() {
	if slices.ContainsFunc(a.loop.choices.ways, func(w way) bool { return backend.NeedsKey(w.b) }) {
		a.writeKey()
	}
}

func (a *Agent) writeKey() {
	k := &a.loop.secret
	if k.written || a.o.KeyFile == "" {
		return
	}
	_, err := subnet.WriteFile(a.o.KeyFile, []byte(base64.StdEncoding.EncodeToString(k.key[:])+"\n"), 0o600)
	a.report.warn(a.o.Log, "private key", texts(err))
	if err == nil {
		k.written = true
		a.o.Log.WithField("file", a.o.KeyFile).WithField("from", k.from).Info("private key for WireGuard written")
	}
}

// readKey reads a private key in base64. The error says nothing of what was read.
func readKey(file string) (kernel.Key, error) {
	if file == "" {
		return kernel.Key{}, fs.ErrNotExist
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return kernel.Key{}, fmt.Errorf("reading the private key for WireGuard: %w", err)
	}
	return parseKey(file, string(text))
}

func parseKey(file, text string) (kernel.Key, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(kernel.Key{}) {
		return kernel.Key{}, fmt.Errorf("%s holds no private key, which is 32 bytes in base64, as wg genkey prints them", file)
	}
	key := clamped(kernel.Key(raw))
	if key == clamped(kernel.Key{}) {
		return kernel.Key{}, fmt.Errorf("%s holds a key of nothing but zeros", file)
	}
	return key, nil
}

// clamped returns the key as the kernel keeps it, with the bits set that Curve25519 wants so (RFC 7748).
func clamped(k kernel.Key) kernel.Key {
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}
