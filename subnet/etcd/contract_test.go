package etcd

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-network/weft/subnet"
	"github.com/weft-network/weft/subnet/etcd/etcdtest"
	"github.com/weft-network/weft/subnet/storetest"
)

// The prefix of the contract's tests, written as no one would.
const contractPrefix = "weft/test//"

// real is a cluster of one member behind a line that can be cut.
type real struct {
	t      *testing.T
	server *etcdtest.Cluster
	front  *etcdtest.Front
	client *clientv3.Client
}

var (
	_ storetest.Leasing      = (*real)(nil)
	_ storetest.NamedEntries = (*real)(nil)
	_ storetest.Forgetful    = (*real)(nil)
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Cluster {
		c := etcdtest.Start(t, 1)
		return &real{t: t, server: c, front: c.NewFront(t, 0), client: c.Client(t)}
	})
}

func (r *real) key(name string) string { return "/weft/test/" + name }

func (r *real) put(name, value string, options ...clientv3.OpOption) (key string) {
	r.t.Helper()
	if _, err := r.client.Put(r.t.Context(), r.key(name), value, options...); err != nil {
		r.t.Fatal(err)
	}
	return r.key(name)
}

// leased attaches a key to an etcd lease of its own.
func (r *real) leased() clientv3.OpOption {
	r.t.Helper()
	l, err := r.client.Grant(r.t.Context(), 3600)
	if err != nil {
		r.t.Fatal(err)
	}
	return clientv3.WithLease(l.ID)
}

func (r *real) remove(name string, options ...clientv3.OpOption) {
	r.t.Helper()
	if _, err := r.client.Delete(r.t.Context(), r.key(name), options...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) value(a subnet.Attrs) string {
	r.t.Helper()
	text, err := encodeValue(a)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func (r *real) SetConfig(text string) {
	if text == "" {
		r.remove("config")
		return
	}
	r.put("config", text)
}

func (r *real) Store(string) subnet.Store {
	r.t.Helper()
	s, err := New(Options{
		Endpoints:   []string{r.front.Endpoint()},
		Prefix:      contractPrefix,
		RereadDelay: 20 * time.Millisecond,
		ContestTime: time.Second,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *real) Remove(s subnet.Subnets) { r.remove("subnets/" + formatKey(s)) }
func (r *real) Break()                  { r.front.Cut() }
func (r *real) Mend()                   { r.front.Join() }
func (r *real) Wipe()                   { r.remove("", clientv3.WithPrefix()) }

func (r *real) PutForeign(l subnet.Lease) {
	r.put("subnets/"+formatKey(l.Subnets), r.value(l.Attrs), r.leased())
}

func (r *real) Reserve(l subnet.Lease) {
	r.put("subnets/"+formatKey(l.Subnets), r.value(l.Attrs))
}

func (r *real) PutGarbage(s subnet.Subnets, value string) string {
	return r.PutNamed(formatKey(s), value)
}

func (r *real) PutNamed(name, value string) string {
	return r.put("subnets/"+name, value, r.leased())
}

func (r *real) Forget() {
	r.put("config-of-somebody-else", "changed")
	r.server.Compact()
}
