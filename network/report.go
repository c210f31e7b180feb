package network

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/weft-network/weft/backend"
	"github.com/weft-network/weft/network/kernel"
	"github.com/weft-network/weft/subnet"
)

// report collects what the tasks have to tell: for Status, for the metrics, and, where something changed, for the log.
type report struct {
	mark     kernel.Mark // of the network; never changed
	mu       sync.Mutex
	waits    map[string]string // what is waited for, by who waits
	warnings map[string][]string
	text     string // net-conf.json in force
	ups      [2]backend.Uplink
	mtu      int
	failed   map[subnet.Subnets]string
	plan     plan // the one that the kernel follows

	storeErr  string
	faults    []string
	kernelErr string
	fire      FirewallStatus

	started  time.Time // of the pass at work; zero while none is
	lastPass time.Time
	lastTook time.Duration
	changes  map[string]uint64
	repairs  map[string]uint64
	inStep   bool // the last pass left nothing different
	complete bool // and knew every lease of the store
	ready    bool // the node has been ready for pods once
	equipped bool // the container runtime was told of the network
}

// waiting says what somebody waits for, or with nil that he no longer does.
func (r *report) waiting(who string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.waits, who)
		return
	}
	if r.waits == nil {
		r.waits = map[string]string{}
	}
	r.waits[who] = err.Error()
}

// waits as sentences, in a steady order.
func (r *report) sentences() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sortedWaits()
}

func (r *report) sortedWaits() []string {
	list := slices.Collect(maps.Values(r.waits))
	slices.Sort(list)
	return slices.Compact(list)
}

// warn replaces the warnings about a subject. New ones are logged.
func (r *report) warn(log logrus.FieldLogger, subject string, texts []string) {
	r.mu.Lock()
	old := r.warnings[subject]
	if r.warnings == nil {
		r.warnings = map[string][]string{}
	}
	r.warnings[subject] = texts
	r.mu.Unlock()
	for i, t := range texts {
		switch {
		case slices.Contains(old, t):
		case i < 10:
			log.WithField("about", subject).Warn(t)
		default:
			log.WithField("about", subject).Warnf("and %d more", len(texts)-i)
			return
		}
	}
}

// about returns the warnings about a subject.
func (r *report) about(subject string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.warnings[subject]
}

// formerSubject is what warnings are about that tell of ways which this node had, and cannot make again.
const formerSubject = "former ways"

// peersFailed says which peers cannot be served, and why. Where all are served, nobody misses a former way.
func (r *report) peersFailed(log logrus.FieldLogger, failed map[subnet.Subnets]error) {
	texts := make(map[subnet.Subnets]string, len(failed))
	for k, err := range failed {
		texts[k] = err.Error()
	}
	r.mu.Lock()
	r.failed = texts
	r.mu.Unlock()
	r.warn(log, "peer", slices.Sorted(maps.Values(texts)))
	if len(failed) == 0 {
		r.warn(log, formerSubject, nil)
	}
}

// storeAway says that the store cannot be followed.
func (r *report) storeAway(log logrus.FieldLogger, err error) {
	r.mu.Lock()
	first := r.storeErr == ""
	r.storeErr = err.Error()
	r.mu.Unlock()
	if first {
		log.WithError(err).Warn("the store is away; the node goes on with what it knows")
	}
}

// storeBack says that the store has told its picture.
func (r *report) storeBack(log logrus.FieldLogger, faults []subnet.Fault) {
	var texts []string
	for _, f := range faults {
		texts = append(texts, fmt.Sprintf("%s: %s", f.Key, f.Err))
	}
	slices.Sort(texts)
	r.mu.Lock()
	back := r.storeErr != ""
	r.storeErr, r.faults = "", texts
	r.mu.Unlock()
	if back {
		log.Info("the store is back")
	}
	r.warn(log, "store", texts)
}

// config says which net-conf.json is in force.
func (r *report) config(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
}

// uplinks says which uplinks are in use.
func (r *report) uplinks(ups [2]backend.Uplink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ups = ups
}

// planned says which plan the kernel follows.
func (r *report) planned(p plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan = p
}

// inPlan is the plan that the kernel follows.
func (r *report) inPlan() plan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan
}

// working marks the begin of a pass; the returned function marks its end.
func (r *report) working(now time.Time) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = now
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lastPass = time.Now()
		r.lastTook, r.started = r.lastPass.Sub(r.started), time.Time{}
	}
}

// changed counts a change of the kernel and logs it: one line for each object, or one for all where they are many.
func (r *report) changed(log logrus.FieldLogger, c kernel.Change, repairs map[string]int, err error) {
	c.Put.Probes, c.Drop.Probes = nil, nil // to look at a path changes nothing
	put, drop := countKinds(c.Put), countKinds(c.Drop)
	r.mu.Lock()
	if r.changes == nil {
		r.changes, r.repairs = map[string]uint64{}, map[string]uint64{}
	}
	if err == nil {
		for kind := range put {
			r.changes[kind] += uint64(put[kind] + drop[kind])
			r.repairs[kind] += uint64(repairs[kind])
		}
	}
	r.mu.Unlock()
	if n := c.Put.Len() + c.Drop.Len(); n > 10 {
		log.WithFields(logrus.Fields{"put": nonZero(put), "drop": nonZero(drop), "repairs": nonZero(repairs)}).Info("kernel changed")
		return
	}
	for _, line := range lines(c.Put) {
		log.WithField("object", r.mark.Words(line)).Info("kernel: put")
	}
	for _, line := range lines(c.Drop) {
		log.WithField("object", r.mark.Words(line)).Info("kernel: dropped")
	}
}

// step says whether the kernel is as it should be.
func (r *report) step(log logrus.FieldLogger, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	again := r.kernelErr == text
	r.kernelErr = text
	r.inStep = r.inStep && err == nil
	r.mu.Unlock()
	if err != nil && !again {
		log.WithError(err).Warn("pass failed, trying again")
	}
}

// firewall says how the rules are kept.
func (r *report) firewall(log logrus.FieldLogger, s FirewallStatus) {
	r.mu.Lock()
	before := r.fire
	r.fire = s
	r.mu.Unlock()
	if s.Error != "" && s.Error != before.Error {
		log.WithField("error", s.Error).Warn("keeping the firewall rules failed, trying again")
	}
	if s.Rendering != before.Rendering && s.Rendering != "" {
		log.WithFields(logrus.Fields{"rendering": s.Rendering, "reason": s.Reason}).Info("firewall chosen")
	}
}

// inForce is the net-conf.json in force.
func (r *report) inForce() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text
}

// refused says why a new net-conf.json is not in force; nil says that it is.
func (r *report) refused(log logrus.FieldLogger, err error) {
	if err != nil {
		err = fmt.Errorf("the network config in the store is refused, the last good one stays in force: %w", err)
	}
	r.warn(log, "config", texts(err))
}

// programmed says that a pass has ended with the kernel as it should be.
func (r *report) programmed(complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inStep, r.complete = true, complete
}

// isReady tells whether the node has been ready for pods once.
func (r *report) isReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

// mayBeReady tells whether lease, rules and peers are in place. Without the store, the last good snapshot will do.
func (r *report) mayBeReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inStep && r.fire.InStep
}

// becomeReady says that pods were let in. It tells whether that is for the first time.
func (r *report) becomeReady(mtu int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.ready
	r.ready, r.mtu = true, mtu
	return first
}

// firewallInStep tells whether the rules were as wanted when they were looked at last.
func (r *report) firewallInStep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fire.InStep
}

// rulesChanged counts changes of firewall rules; those of rules that were right before are repairs.
func (r *report) rulesChanged(log logrus.FieldLogger, n int, repair bool) {
	if n == 0 {
		return
	}
	r.count("rule", n, repair)
	log.WithFields(logrus.Fields{"rules": n, "repair": repair}).Info("firewall changed")
}

func (r *report) count(kind string, n int, repair bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes == nil {
		r.changes, r.repairs = map[string]uint64{}, map[string]uint64{}
	}
	r.changes[kind] += uint64(n)
	if repair {
		r.repairs[kind] += uint64(n)
	}
}
