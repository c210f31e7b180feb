package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-network/weft/subnet"
)

// lookAgain is how often the subnet file is looked for while ADD waits for it.
const lookAgain = 50 * time.Millisecond

// waitForEnv returns the node's subnets. While the subnet file is missing or damaged, it looks again for as long as
// the config says; its error then has the code that makes the runtime try again later, and says what is missing.
func (c conf) waitForEnv(ctx context.Context) (subnet.Env, error) {
	ctx, cancel := context.WithTimeout(ctx, c.wait())
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		env, err := c.env()
		if err == nil {
			return env, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			msg := fmt.Sprintf("this node has no subnet for pods yet, after %v of waiting", c.wait())
			return subnet.Env{}, types.NewError(types.ErrTryAgainLater, msg, c.whyNot(err))
		}
	}
}

// env reads the subnet file.
func (c conf) env() (subnet.Env, error) { return subnet.ReadEnv(c.SubnetFile) }

// whyNot says in words why the subnet file could not be read, and what to do about it.
func (c conf) whyNot(err error) string {
	what := fmt.Sprintf("%s cannot be used: %v", c.SubnetFile, err)
	if errors.Is(err, fs.ErrNotExist) {
		what = c.SubnetFile + " does not exist"
	}
	if waiting := c.waiting(); waiting != "" {
		return what + "; weftd is waiting: " + waiting
	}
	return what + `; weftd writes it: see whether it runs and what it says with "weftctl status", "journalctl -u weftd", or in Kubernetes "kubectl -n weft-system logs -l app.kubernetes.io/name=weft"`
}

// waiting returns the sentence in which weftd says what it is waiting for, "" while it is waiting for nothing.
func (c conf) waiting() string {
	f, err := os.Open(c.SubnetFile + ".waiting")
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, 1000)
	n, _ := f.Read(text) // what cannot be read says nothing
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(text[:n])), " "), "")
}
