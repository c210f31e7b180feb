package etcd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Names below the prefix.
const (
	configName   = "config"
	subnetsName  = "subnets/"
	contestsName = "contests/"
)

// Options say where etcd is and how to speak to it. Only Endpoints has no default.
type Options struct {
	Endpoints []string // URLs: http, https, unix, unixs; host:port is http, or https where a CA or a certificate is given
	Prefix    string   // where flannel's keys are; /coreos.com/network by default. Slashes at the ends do not matter

	CAFile            string // whom to trust; the system's authorities if empty
	CertFile, KeyFile string // the client's certificate: both or neither. All three are read again when they change
	Username          string
	Password          string

	TTL            time.Duration // how long a subnet stays claimed without its node; 24 h by default, whole seconds
	RequestTimeout time.Duration // how long one request may take; 10 s by default
	DialTimeout    time.Duration // how long one attempt to connect may take; 5 s by default
	RereadDelay    time.Duration // when to read again what Watch's function did not believe; 2 s by default
	ProbeInterval  time.Duration // how often a quiet connection is tried; 1 min by default
	ContestTime    time.Duration // how long a node that holds what this one wants may take to speak up; 3 s by default

	Logger logrus.FieldLogger // nil logs nothing
}

// checked returns o with its defaults, or all that is wrong with it.
func (o Options) checked() (Options, error) {
	var errs []error
	o.Prefix = cleanPrefix(o.Prefix)
	if (o.CertFile == "") != (o.KeyFile == "") {
		errs = append(errs, errors.New("the client certificate and its key go together: give both files or neither"))
	}
	if o.Username == "" && o.Password != "" {
		errs = append(errs, errors.New("a password without a user name"))
	}
	o.Endpoints = append([]string(nil), o.Endpoints...)
	for i, e := range o.Endpoints {
		clean, err := cleanEndpoint(e, o.CAFile != "" || o.CertFile != "")
		if err != nil {
			errs = append(errs, err)
		}
		o.Endpoints[i] = clean
	}
	if len(o.Endpoints) == 0 {
		errs = append(errs, errors.New("no etcd endpoint given"))
	}
	errs = append(errs, oneTransport(o.Endpoints))
	o.defaults()
	return o, errors.Join(errs...)
}

func (o *Options) defaults() {
	orElse(&o.TTL, 24*time.Hour)
	orElse(&o.RequestTimeout, 10*time.Second)
	orElse(&o.DialTimeout, 5*time.Second)
	orElse(&o.RereadDelay, 2*time.Second)
	orElse(&o.ProbeInterval, time.Minute)
	orElse(&o.ContestTime, 3*time.Second)
	o.TTL = max(o.TTL.Round(time.Second), time.Second)
	if o.Logger == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Logger = quiet
	}
}

func orElse(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// cleanPrefix returns p with one slash before it and one behind it.
func cleanPrefix(p string) string {
	if strings.Trim(p, "/") == "" {
		p = "/coreos.com/network"
	}
	return path.Clean("/"+p) + "/"
}

// cleanEndpoint returns e as a URL that the client understands.
func cleanEndpoint(e string, secure bool) (string, error) {
	e = strings.TrimSpace(e)
	if !strings.Contains(e, "://") && !strings.HasPrefix(e, "unix") {
		scheme := "http"
		if secure {
			scheme = "https"
		}
		e = scheme + "://" + e
	}
	u, err := url.Parse(e)
	if err != nil {
		return e, fmt.Errorf("etcd endpoint %q: %w", e, err)
	}
	switch u.Scheme {
	case "unix", "unixs":
		return e, nil
	case "http", "https":
	default:
		return e, fmt.Errorf("etcd endpoint %q: the scheme is %q; want http, https, unix or unixs", e, u.Scheme)
	}
	if u.Hostname() == "" {
		return e, fmt.Errorf("etcd endpoint %q: no host; want one as in http://192.0.2.1:2379", e)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "2379")
	}
	return u.Scheme + "://" + u.Host, nil
}

// oneTransport refuses a mixture of endpoints with and without TLS: the client would speak to all of them as to the
// first.
func oneTransport(endpoints []string) error {
	for _, e := range endpoints {
		if secureEndpoint(e) != secureEndpoint(endpoints[0]) {
			return fmt.Errorf("etcd endpoints %s and %s: all must use TLS or none", endpoints[0], e)
		}
	}
	return nil
}

func secureEndpoint(e string) bool {
	return strings.HasPrefix(e, "https:") || strings.HasPrefix(e, "unixs:")
}

// secure tells whether the endpoints use TLS.
func (o Options) secure() bool { return secureEndpoint(o.Endpoints[0]) }
