package kube

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// DefaultConfigPath is where net-conf.json is in flannel's pods.
const DefaultConfigPath = "/etc/kube-flannel/net-conf.json"

// Options say where the Kubernetes API is, and who this node is. Only Node has no default.
type Options struct {
	Node string // name of this node's Node object

	Endpoints  []string // URLs of API servers, tried in turn; by default that of Kubeconfig, else the cluster's own Service
	Kubeconfig string   // credentials, and the server where Endpoints is empty; by default the pod's service account

	Prefix     string // of the annotations; DefaultPrefix by default
	ConfigPath string // net-conf.json; DefaultConfigPath by default

	KeepCondition bool // Report keeps the Node's condition NetworkUnavailable; else it only tells with Events

	RequestTimeout time.Duration // how long one request may take; 10 s by default
	RereadDelay    time.Duration // when to read again what Watch's function did not believe; 2 s by default
	ContestTime    time.Duration // how long another agent for this Node may take to speak up; 3 s by default

	Logger logrus.FieldLogger // nil logs nothing
}

// checked returns o with its defaults, or all that is wrong with it.
func (o Options) checked() (Options, error) {
	var errs []error
	if o.Node == "" {
		errs = append(errs, errors.New("the name of this node's Node is missing"))
	}
	if o.Prefix = strings.TrimSuffix(o.Prefix, "/"); o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if strings.ContainsAny(o.Prefix, "/ ") {
		errs = append(errs, fmt.Errorf("annotation prefix %q is not a domain name such as %s", o.Prefix, DefaultPrefix))
	}
	if o.ConfigPath == "" {
		o.ConfigPath = DefaultConfigPath
	}
	var clean []string
	for _, e := range o.Endpoints {
		if e = strings.TrimSpace(e); e == "" {
			continue
		}
		if !strings.Contains(e, "://") {
			e = "https://" + e
		}
		u, err := url.Parse(e)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("API server %q is not a URL such as https://192.0.2.1:6443", e))
		}
		clean = append(clean, e)
	}
	o.Endpoints = clean
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 10 * time.Second
	}
	if o.RereadDelay == 0 {
		o.RereadDelay = 2 * time.Second
	}
	if o.ContestTime == 0 {
		o.ContestTime = 3 * time.Second
	}
	if o.Logger == nil {
		quiet := logrus.New()
		quiet.SetLevel(logrus.PanicLevel)
		o.Logger = quiet
	}
	if err := errors.Join(errs...); err != nil {
		return o, fmt.Errorf("options of the Kubernetes API: %w", err)
	}
	return o, nil
}
