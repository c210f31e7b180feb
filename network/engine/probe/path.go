package probe

import (
	"fmt"
	"time"

	"github.com/weft-network/weft/network/kernel"
)

const (
	// pauseLeast is between two probes of a path that answers. Many paths share what may be sent, see pauseFor.
	pauseLeast = time.Second
	// pauseMost is between two probes of a path that does not answer and is not in use.
	pauseMost = 10 * time.Second
	// answerTime is how long an answer may take before a path in use is asked again: both ends are on one link. What comes later counts.
	answerTime = 100 * time.Millisecond
	// silence is how long a path in use may leave probes unanswered, and silenceLeast how many of them there have to be.
	silence      = 2 * time.Second
	silenceLeast = 5
	// proof is how many probes in a row a path must have answered to be used.
	proof = 5
	// A path that has stopped to work is not used for holdLeast, twice as long after each further time, and for holdMost at last;
	// when it has worked for steady, all that is forgotten.
	holdLeast = 10 * time.Second
	holdMost  = 10 * time.Minute
	steady    = 10 * time.Minute
	// late is how many probes may have been sent after the one that an answer is to.
	late = 20
	// adoptFor is how long a path that was adopted is waited for.
	adoptFor = 10 * time.Second
)

// pauseFor is the pause where so many paths are tried: 1,000 probes a second is what a node sends while all is well.
func pauseFor(paths int) time.Duration {
	return max(pauseLeast, time.Duration(paths)*time.Millisecond)
}

// path is what is known of a path. It is told what happens and when, and says when it wants to be asked next.
type path struct {
	id    uint32 // in probes
	probe kernel.Probe
	put   bool // it is to be tried; else it was adopted and is waited for

	works bool
	since time.Time // of works
	moved bool      // works has changed, and nobody was told yet

	next       time.Time     // when to send the next probe
	pause      time.Duration // between probes that are answered
	asked      time.Time     // when the last one was sent
	number     uint32        // of the last one
	seen       uint32        // of the last one that was answered
	unanswered int           // how many were sent since
	doubt      time.Time     // when the first of these was sent
	answers    int           // in a row

	falls  uint64
	recent int       // falls since the path was steady
	hold   time.Time // it is not used before
}

// ask notes that a probe is sent now, and decides what becomes of one that is in use and does not answer.
func (p *path) ask(now time.Time, pause time.Duration) {
	if p.unanswered == 0 {
		p.doubt = now
	} else {
		p.answers = 0
	}
	if p.works && p.unanswered >= silenceLeast && now.Sub(p.doubt) >= silence {
		p.fall(now)
	}
	p.number++
	p.unanswered++
	p.asked, p.pause = now, pause
	switch {
	case p.works:
		p.next = now.Add(answerTime)
	case p.unanswered > proof:
		p.next = now.Add(max(pause, min(pause<<min(p.unanswered-proof, 10), pauseMost)))
	default:
		p.next = now.Add(pause)
	}
}

// answer notes an answer to the probe of that number. One that came before, or comes much too late, is none.
func (p *path) answer(now time.Time, number uint32) {
	if number <= p.seen || number > p.number || p.number-number > late {
		return
	}
	p.seen, p.unanswered = number, 0
	p.answers++
	p.next = p.asked.Add(p.pause)
	switch {
	case p.works && now.Sub(p.since) >= steady:
		p.recent = 0
	case !p.works && p.answers >= proof && !now.Before(p.hold):
		p.works, p.since, p.moved = true, now, true
	}
}

// fall notes that the path has stopped to work.
func (p *path) fall(now time.Time) {
	if now.Sub(p.since) >= steady {
		p.recent = 0
	}
	p.works, p.since, p.moved = false, now, true
	p.unanswered, p.doubt, p.answers = 0, now, 0
	p.hold = now.Add(min(holdLeast<<min(p.recent, 10), holdMost))
	p.falls++
	p.recent++
}

// state tells how the path is.
func (p *path) state(now time.Time) kernel.PathState {
	return kernel.PathState{Works: p.works, Since: p.since, Why: p.why(now), Falls: p.falls}
}

func (p *path) why(now time.Time) string {
	const path = "the path without the tunnel "
	switch {
	case p.works && p.number == 0:
		return path + "was in use before weftd was started"
	case p.works && p.unanswered > 1:
		return fmt.Sprintf("%shas left %d probes unanswered, and is still in use", path, p.unanswered)
	case p.works:
		return path + "answers"
	case p.falls > 0 && now.Before(p.hold):
		return fmt.Sprintf("%sstopped to answer at %s, and is not used before %s", path, p.since.Format(time.TimeOnly), p.hold.Format(time.TimeOnly))
	case p.unanswered > 1:
		return path + "does not answer"
	case p.number == 0:
		return path + "has not been tried yet"
	}
	return fmt.Sprintf("%shas answered %d times in a row, and is used after %d", path, p.answers, proof)
}
