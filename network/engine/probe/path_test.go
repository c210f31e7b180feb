package probe

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// trial plays the life of a path. answers says whether a probe at that time, counted from the begin, is answered.
func trial(length time.Duration, answers func(at time.Duration) bool) (p path, moves []time.Duration) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p = path{put: true, next: begin, since: begin}
	for at := time.Duration(0); at < length; at = p.next.Sub(begin) {
		p.ask(begin.Add(at), pauseLeast)
		if answers(at) {
			p.answer(begin.Add(at+time.Millisecond), p.number)
		}
		if p.moved {
			p.moved = false
			moves = append(moves, at)
		}
	}
	return p, moves
}

// between tells whether at is in the span.
func between(at, from, to time.Duration) bool { return at >= from && at <= to }

func TestPathIsUsedWhenItHasProvenItself(t *testing.T) {
	p, moves := trial(time.Minute, func(time.Duration) bool { return true })
	if !p.works || len(moves) != 1 || !between(moves[0], 3*time.Second, 5*time.Second) {
		t.Errorf("works %t, moves %v: want one after some seconds", p.works, moves)
	}
	p, moves = trial(time.Hour, func(at time.Duration) bool { return at/time.Second%proof != 0 })
	if p.works || len(moves) > 0 {
		t.Errorf("a path that leaves each fifth probe unanswered is used at %v", moves)
	}
}

func TestPathIsLeftWithinSeconds(t *testing.T) {
	const cut = 20 * time.Second
	p, moves := trial(time.Minute, func(at time.Duration) bool { return at < cut })
	if p.works || len(moves) != 2 || !between(moves[1]-cut, silence, silence+pauseLeast+2*answerTime) {
		t.Errorf("works %t, moves %v: want it left about 3 s after %v", p.works, moves, cut)
	}
	if p.falls != 1 || !strings.Contains(p.why(p.next), "does not answer") {
		t.Errorf("%d falls, %q", p.falls, p.why(p.next))
	}
}

func TestPathIsUsedAgain(t *testing.T) {
	const cut, back = 20 * time.Second, 50 * time.Second
	p, moves := trial(5*time.Minute, func(at time.Duration) bool { return at < cut || at > back })
	if !p.works || len(moves) != 3 || !between(moves[2]-back, 4*time.Second, pauseMost+6*time.Second) {
		t.Errorf("works %t, moves %v: want it used again soon after %v", p.works, moves, back)
	}
}

// A path that breaks again and again is used less and less.
func TestPathDoesNotFlap(t *testing.T) {
	p, moves := trial(4*time.Hour, func(at time.Duration) bool { return at%(20*time.Second) < 12*time.Second })
	if n := len(moves); n < 4 || n > 60 {
		t.Errorf("%d moves in four hours", n)
	}
	var last time.Duration
	for i := 2; i+1 < len(moves) && i < 12; i += 2 {
		if rest := moves[i] - moves[i-1]; rest < last {
			t.Errorf("rest %d of %v is shorter than %v before", i, rest, last)
		} else {
			last = rest
		}
	}
	if p.recent < 5 {
		t.Errorf("%d falls are remembered", p.recent)
	}
}

// A path that has been good for long begins anew.
func TestPathIsForgiven(t *testing.T) {
	p, _ := trial(2*time.Hour, func(at time.Duration) bool { return at > 30*time.Minute || at%(20*time.Second) < 12*time.Second })
	if !p.works || p.recent != 0 || p.falls == 0 {
		t.Errorf("works %t, %d falls of %d are remembered", p.works, p.recent, p.falls)
	}
}

// Loss is no reason to leave a path: the tunnel would have it too.
func TestPathSurvivesLoss(t *testing.T) {
	for _, loss := range []float64{0.1, 0.3, 0.51} {
		for seed := range uint64(10) {
			random := rand.New(rand.NewPCG(seed, 0))
			p, moves := trial(10*time.Hour, func(time.Duration) bool { return random.Float64() >= loss })
			if !p.works || len(moves) > 3 {
				t.Errorf("loss of %g, seed %d: works %t, moves %v", loss, seed, p.works, moves)
			}
		}
	}
}

func TestAnswersThatDoNotCount(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := path{put: true}
	for range 30 {
		p.ask(now, pauseLeast)
	}
	for _, number := range []uint32{0, 31, 9} { // of before, of nothing, much too late
		if p.answer(now, number); p.answers != 0 {
			t.Errorf("an answer to probe %d of %d counts", number, p.number)
		}
	}
	p.answer(now, 29)
	p.answer(now, 29)
	p.answer(now, 28)
	if p.answers != 1 || p.unanswered != 0 {
		t.Errorf("%d answers, %d without: want 1 and 0", p.answers, p.unanswered)
	}
}

// A node with many peers sends no more than it can bear, and a dead path is asked rarely.
func TestPauses(t *testing.T) {
	if pauseFor(1) != time.Second || pauseFor(1000) != time.Second || pauseFor(5000) != 5*time.Second {
		t.Errorf("%v, %v, %v", pauseFor(1), pauseFor(1000), pauseFor(5000))
	}
	p, _ := trial(time.Hour, func(time.Duration) bool { return false })
	if p.number < 360 || p.number > 400 {
		t.Errorf("%d probes in an hour to nobody", p.number)
	}
}

func TestWhy(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		p    path
		want string
	}{
		{path{}, "has not been tried yet"},
		{path{works: true}, "was in use before weftd was started"},
		{path{works: true, number: 1, unanswered: 1}, "answers"},
		{path{works: true, number: 9, unanswered: 3}, "has left 3 probes unanswered, and is still in use"},
		{path{number: 3, answers: 3}, "has answered 3 times in a row, and is used after 5"},
		{path{number: 9, unanswered: 4}, "does not answer"},
		{path{number: 9, falls: 1, since: now, hold: now.Add(time.Minute)}, "stopped to answer at 12:00:00, and is not used before 12:01:00"},
	} {
		if got := test.p.why(now); got != "the path without the tunnel "+test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
