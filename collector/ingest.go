package collector

import (
	"fmt"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// request is what the transports have in common: a body whose sender is known.
type request struct {
	signal *signal
	from   tenant.Identity
	body   []byte // uncompressed protobuf; nothing of it is kept after ingest

	written *written // of remote-write: gets what was written, unless the request is a repetition
}

// ingest stores what a request carries and returns when that is durable. It waits for the disk, never for ClickHouse.
func (c *Collector) ingest(req request) (answer, error) {
	if req.signal.decode == nil {
		return refuseAll(req)
	}
	now := time.Now()
	d := digestOf(req.signal.path, req.from.KeyID, req.body)
	a, known, other := c.window.begin(d, now)
	if other != nil {
		if err := c.await(other.done); err != nil {
			return answer{}, err
		}
		metrics.duplicates.Inc()
		return other.answer, other.err
	}
	if known {
		metrics.duplicates.Inc()
		return a, nil
	}
	settled := false
	defer func() { // nothing may leave others waiting, not even a panic
		if !settled {
			c.window.settle(d, answer{}, errStopping)
		}
	}()
	// Not before: what was acknowledged already must be so again, also when nothing new is taken for longer than the
	// client's request is remembered.
	err := c.spool.refusal(now)
	if err == nil {
		err = c.departed.refusal()
	}
	if err == nil {
		err = c.limiter.keys.admit(req.from.KeyID, req.from.Name, len(req.body), c.limiter.time(now))
	}
	if err != nil {
		settled = true
		c.window.settle(d, answer{}, err)
		return answer{}, err
	}
	var (
		b   *batch
		out outcome
	)
	c.decoding.do(req.from.KeyID, len(req.body), func() { b, out, err = c.committer.add(req, d, now) })
	settled = true
	if err != nil {
		c.window.settle(d, answer{}, err)
		return answer{}, err
	}
	out.count()
	if req.written != nil {
		*req.written = written{out.samples, out.histograms}
	}
	c.limiter.keys.charge(req.from.KeyID, out.work(), c.limiter.time(now))
	if b == nil {
		c.window.settle(d, out.answer(), nil)
		return out.answer(), nil
	}
	if err := c.await(b.done); err != nil { // the committer settles it, also when nobody waits any more
		return answer{}, err
	}
	return out.answer(), b.err
}

// await waits until a request is stored, or could not be. A disk that hangs must not gather clients without end: they
// are told to come again, and are known then.
func (c *Collector) await(done <-chan struct{}) error { return awaitStored(done, c.opts.AckTimeout, 0) }

// refuseAll answers a request of a signal that is not stored: a partial success that refuses all of it, so that clients
// neither fail nor send it again.
func refuseAll(req request) (answer, error) {
	n, err := req.signal.count(req.body)
	if err != nil {
		return answer{}, fault.Wrap(err, fault.Invalid, "the body is no %s: %s", req.signal.message, err)
	}
	if n == 0 {
		return answer{}, nil
	}
	return answer{rejected: n, message: fmt.Sprintf("headroom does not store %s", req.signal.name)}, nil
}
