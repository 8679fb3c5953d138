package collector

import (
	"fmt"

	"github.com/nexis-limited/headroom/tenant"
)

// Metrics are never sampled: a point that is left out is a wrong number. So there is one rate of points, beyond which they
// are refused, and it is one of the numbers that points are stored as: each takes the same place, whatever its labels,
// and a histogram as many as it has buckets.

// numbersSince returns as how many numbers the points since the mark are stored.
func (c *metricColumns) numbersSince(m metricMark) int {
	n := len(c.points.value) - m.points
	if rows := len(c.histograms.count) - m.histograms; rows > 0 {
		n += 2*rows + c.histograms.positive.entriesSince(m.histograms) + c.histograms.negative.entriesSince(m.histograms)
	}
	return n
}

// admitPoint reports whether the point may be stored whose rows stand in the columns since the mark; if not, it is refused.
func (d *decoder) admitPoint(since metricMark) bool {
	n := d.cols.metric.numbersSince(since)
	if d.out.numbers+n > d.opts.maxPoints {
		d.out.reject(tooMany, func() error { // built for the first alone: there may be millions
			return d.pointError("data_points", "", "must not have more than "+itoa(d.opts.maxPoints)+" numbers in one request: send smaller batches")
		})
		return false
	}
	if d.limits.limiter != nil && !d.limits.admitPoint(d, n) {
		return false
	}
	d.out.numbers += n
	return true
}

func (s *spanLimits) admitPoint(d *decoder, n int) bool {
	a := s.use(tenant.ID(viewString(d.metric.tenant)))
	v, u := &a.verdict, &a.usage
	if v.leftPoints <= 0 {
		a.settle(s)
	}
	if v.pointsRefused {
		v.leftPoints--
		u.refusedPoints++
		d.out.reject(overQuota, a.account.pointRefusal)
		return false
	}
	v.leftPoints -= int32(n)
	u.points += float64(n)
	return true
}

// pointRefusal says why points are refused.
func (a *account) pointRefusal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Errorf("%s sends more than %d numbers of metrics a second, the most that the plan %q allows (points-per-second)",
		a.name(), a.terms.quota.PointsPerSecond, a.terms.plan)
}

// refusePoint notes for the report that a point was refused. The account's lock is held.
func (a *account) refusePoint(l *limiter) {
	a.lately.refusedPoints++
	if !a.listed {
		a.listed = l.list(a)
	}
}
