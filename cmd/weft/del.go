package main

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/weft-network/weft/subnet"
)

// del detaches a pod. It tells the delegate what ADD told it; where that is lost or damaged, what ADD would tell it
// now, which releases the pod's addresses all the same. It succeeds when there is nothing left, and can be repeated.
func (p plugin) del(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	rec, err := records{c.DataDir}.find(c.Name, args.ContainerID, args.IfName)
	d, ok := rec.delegate()
	if !ok {
		if err == nil {
			p.log.Printf("%s is damaged: detaching %s of container %s by the network config instead", rec.path, args.IfName, args.ContainerID)
		}
		if d, err = c.lastResort(); err != nil {
			return err
		}
	}
	_, err = p.run(d.withPrevResult(c), callOf("DEL", args))
	if errors.Is(err, errNotInstalled) && !rec.exists() {
		p.log.Printf("nothing to detach %s of container %s with: %v", args.IfName, args.ContainerID, err)
		return nil // it never was attached, or its delegate was uninstalled together with what it attached
	}
	if err != nil {
		return err
	}
	if err := rec.remove(); err != nil {
		p.log.Printf("detached, but a file stays behind until GC: %v", err)
	}
	return nil
}

// lastResort returns the delegate for a command that has to do without what ADD kept, and perhaps without a subnet.
func (c conf) lastResort() (delegate, error) {
	env, err := c.env()
	if err != nil {
		env = subnet.Env{Masquerade: true}
	}
	return c.delegate(env)
}

// withPrevResult returns the delegate with the result of ADD in its config, if the runtime handed over one.
func (d delegate) withPrevResult(c conf) delegate {
	if !isSet(c.PrevResult) {
		return d
	}
	conf := object{}
	for key, value := range d.conf {
		conf[key] = value
	}
	conf["prevResult"] = c.PrevResult
	return delegate{kind: d.kind, conf: conf}
}
