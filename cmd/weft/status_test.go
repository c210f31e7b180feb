package main

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		name, env, waiting string
		delegate           string // a shell script, or the real one
		code               uint
		want               string
	}{
		{"well", envBoth, "", "", 0, ""},
		{"no subnet", "", "", "", types.ErrPluginNotAvailable, "subnet.env does not exist; weftd writes it: see whether it runs"},
		{"no subnet, and weftd says why", "", "the store does not\nanswer", "", types.ErrPluginNotAvailable, "subnet.env does not exist; weftd is waiting: the store does not answer"},
		{"damaged subnet", "FLANNEL_MTU=x", "", "", types.ErrPluginNotAvailable, "FLANNEL_MTU"},
		{"weftd waits, and pods can be attached all the same", envBoth, "the store does not answer", "", 0, ""},
		{"delegate fails", envBoth, "", `case $CNI_COMMAND in VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}';;
			*) echo '{"code":50,"msg":"sulks"}'; exit 1;; esac`, types.ErrPluginNotAvailable, `STATUS by delegate "own": sulks`},
		{"delegate too old for STATUS", envBoth, "", `case $CNI_COMMAND in VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}';;
			*) exit 1;; esac`, 0, ""},
		{"delegate older than VERSION", envBoth, "", `echo '{"code":100,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1`, 0, ""},
		{"delegate does not start", envBoth, "", `exit 4`, types.ErrInternal, `VERSION by delegate "own": exit status 4`},
		{"delegate is garbage", envBoth, "", `echo garbage`, types.ErrPluginNotAvailable, "does not say which versions of the CNI it speaks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, tt.env)
			if tt.waiting != "" {
				h.write(t, "subnet.env.waiting", tt.waiting)
			}
			if tt.delegate != "" {
				h.script(t, "own", tt.delegate)
				h.config["delegate"] = map[string]any{"type": "own"}
			}
			_, err := h.call(t, "STATUS", pod{})
			if codeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v with code %d, want code %d and %q", err, codeOf(err), tt.code, tt.want)
			}
		})
	}
}

// What a delegate says of an error reaches the runtime, with its code and the delegate's name.
func TestErrorsOfDelegate(t *testing.T) {
	tests := []struct {
		name, script string
		code         uint
		want         string
	}{
		{"with a code", `echo '{"code":11,"msg":"busy","details":"later"}'; exit 1`, 11, `ADD by delegate "own": busy; later`},
		{"in plain words", `echo broken >&2; exit 1`, types.ErrInternal, `broken`},
		{"without a word", `exit 3`, types.ErrInternal, "exit status 3"},
		{"in garbage", `echo garbage; exit 1`, types.ErrInternal, "garbage"},
		{"garbage as the result", `echo garbage`, types.ErrDecodingFailure, `result of ADD by delegate "own"`},
		{"result of a version that there is not", `echo '{"cniVersion":"9.9.9"}'`, types.ErrDecodingFailure, "9.9.9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, envInet)
			h.script(t, "own", tt.script)
			h.config["delegate"] = map[string]any{"type": "own"}
			_, err := h.call(t, "ADD", newPod(t, "one"))
			if got := h.records(t); len(got) != 1 {
				t.Errorf("records %q: DEL would not know what the delegate was told", got)
			}
			if err == nil || codeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v with code %d, want code %d and %q", err, codeOf(err), tt.code, tt.want)
			}
		})
	}
}
