package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// conflist is as much of a network configuration list of the CNI as must be right for a runtime to take it.
type conflist struct {
	name, cniVersion string
	plugins          []struct {
		Type string `json:"type"`
	}
}

// read fills c from the keys of the list, whose case matters to runtimes.
func (c *conflist) read(text []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return place(text, err)
	}
	var errs []error
	for key, to := range map[string]any{"name": &c.name, "cniVersion": &c.cniVersion, "plugins": &c.plugins} {
		if value, ok := keys[key]; ok {
			if err := json.Unmarshal(value, to); err != nil {
				errs = append(errs, fmt.Errorf("%q: %w", key, err))
			}
		}
	}
	return errors.Join(errs...)
}

// networkName and pluginName are what the CNI allows.
var (
	networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)
	cniVersion  = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
)

// ownPlugin is the type of Weft's plugin.
const ownPlugin = "weft"

// parseConf returns the plugins that a network configuration list names. The error names all that is wrong with it.
func parseConf(text []byte) (plugins []string, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("it is empty")
	}
	var c conflist
	if err := c.read(text); err != nil {
		return nil, fmt.Errorf("it is not a JSON object as the CNI wants it: %w", err)
	}
	var errs []error
	switch {
	case c.name == "":
		errs = append(errs, errors.New(`it has no "name"`))
	case !networkName.MatchString(c.name):
		errs = append(errs, fmt.Errorf(`its "name" %q has other characters than letters, digits, "_", "." and "-"`, c.name))
	}
	if c.cniVersion != "" && !cniVersion.MatchString(c.cniVersion) {
		errs = append(errs, fmt.Errorf(`its "cniVersion" %q is not a version such as "1.0.0"`, c.cniVersion))
	}
	if len(c.plugins) == 0 {
		errs = append(errs, errors.New(`it has no "plugins"`))
	}
	for n, p := range c.plugins {
		switch {
		case p.Type == "":
			errs = append(errs, fmt.Errorf(`plugin %d of its "plugins" has no "type"`, n+1))
		case p.Type == "." || p.Type == ".." || strings.ContainsAny(p.Type, "/\x00"):
			errs = append(errs, fmt.Errorf(`plugin %d of its "plugins" has the "type" %q, which is not the name of a program`, n+1, p.Type))
		default:
			plugins = append(plugins, p.Type)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return plugins, nil
}

// sameNetwork tells whether two lists make pods of one network with Weft's plugin.
func sameNetwork(a, b []byte) bool {
	var lists [2]conflist
	for n, text := range [][]byte{a, b} {
		kinds, err := parseConf(text)
		if err != nil || kinds[0] != ownPlugin || lists[n].read(text) != nil {
			return false
		}
	}
	return lists[0].name == lists[1].name
}

// place adds the line to a mistake of syntax.
func place(text []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
	return fmt.Errorf("line %d: %w", line, err)
}
