package turntree

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	retryForDefault = 8 * time.Second
	delayMin        = 100 * time.Millisecond
	callDelayMax    = time.Second
	streamDelayMax  = 2 * time.Second

	// tryMin must be left of a call's time for another try, or its deadline would hide why the one before it failed.
	tryMin = 100 * time.Millisecond

	budgetMax      = 100.0
	budgetAnAnswer = 0.1
	budgetASecond  = 1.0
)

// budget is how many retries a client may still make, over all its calls.
//
// Each retry takes one. Each answer gives back a tenth and each second one, up to 100. So a server that refuses much of
// what it is asked gets at most a tenth more of it, and one that refuses everything gets one call more a second.
type budget struct {
	mutex    sync.Mutex
	left     float64
	refilled time.Time
}

func newBudget() *budget {
	return &budget{left: budgetMax, refilled: time.Now()}
}

// answered notes an answer, whatever it was.
func (b *budget) answered() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.left = min(budgetMax, b.left+budgetAnAnswer)
}

// spend takes a retry; false when there is none left.
func (b *budget) spend() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	now := time.Now()
	b.left = min(budgetMax, b.left+now.Sub(b.refilled).Seconds()*budgetASecond)
	b.refilled = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// growing is a wait that doubles up to its longest, and is random, so that clients do not come all at once.
type growing struct {
	next, max time.Duration
}

// wait gives one.
func (g *growing) wait() time.Duration {
	wait := time.Duration((0.5 + rand.Float64()/2) * float64(g.next))
	g.next = min(2*g.next, g.max)
	return wait
}

// retries says whether and when something that failed is tried again.
type retries struct {
	life     context.Context // of the client
	budget   *budget
	retryFor time.Duration
	waits    growing
	giveUp   time.Time // zero until something fails
	endless  bool      // once true, it goes on for ever, whatever the budget
}

func newRetries(life context.Context, budget *budget, retryFor, delayMax time.Duration) *retries {
	return &retries{life: life, budget: budget, retryFor: retryFor, waits: growing{next: delayMin, max: delayMax}}
}

// succeeded notes that it goes on: the next failure is a first one again.
func (r *retries) succeeded() {
	r.giveUp = time.Time{}
	r.waits.next = delayMin
}

// isFirst tells whether nothing has failed since the last success.
func (r *retries) isFirst() bool {
	return r.giveUp.IsZero()
}

// pause waits for the time of the next try, or gives the error back when there is to be none.
//
// Calls that lost their stream wait for the same new one, which is one request for all of them: it is not charged.
func (r *retries) pause(ctx context.Context, failure *Error) *Error {
	if !failure.isRetryable() {
		return failure
	}
	next, isFree := failure.again, !failure.again.IsZero()
	if !isFree {
		wait := r.waits.wait()
		if asked := failure.RetryAfter; asked > 0 {
			wait = time.Duration((1 + rand.Float64()/2) * float64(max(asked, wait)))
		}
		next = time.Now().Add(wait)
	}
	if r.giveUp.IsZero() {
		r.giveUp = time.Now().Add(r.retryFor)
	}
	if !hasTime(ctx, next) {
		return failure
	}
	if !r.endless && (!next.Before(r.giveUp) || !isFree && !r.budget.spend()) {
		return failure
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return stopped(ctx)
	case <-r.life.Done():
		return closed()
	}
}

// hasTime tells whether a try at this time has enough of it before the deadline.
func hasTime(ctx context.Context, next time.Time) bool {
	deadline, ok := ctx.Deadline()
	return !ok || !next.Add(tryMin).After(deadline)
}
