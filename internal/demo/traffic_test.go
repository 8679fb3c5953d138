package demo

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

var morning = time.Date(2026, 11, 24, 9, 52, 0, 0, time.UTC)

func TestTheSameSecondIsTheSame(t *testing.T) {
	c := NewCompany()
	one, two, other := NewTraffic(c, 7, 40, 0), NewTraffic(c, 7, 40, 0), NewTraffic(c, 8, 40, 0)
	two.Second(nil, morning.Add(time.Hour), nil) // what was asked before does not matter
	a, b := one.Second(nil, morning, nil), two.Second(nil, morning, nil)
	if len(a) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed and second gave %d and %d spans, not the same ones", len(a), len(b))
	}
	if reflect.DeepEqual(a, other.Second(nil, morning, nil)) {
		t.Error("another seed gave the same spans")
	}
	if next := one.Second(nil, morning.Add(time.Second), nil); len(next) > 0 && next[0].Trace == a[0].Trace {
		t.Error("two seconds share a trace id")
	}
}

// Every span is inside its second, has its parent in the same trace, and lies within a parent that waits for it.
func TestTracesHoldTogether(t *testing.T) {
	f := NewTraffic(NewCompany(), 1, 60, 0)
	crossing, queued := 0, 0
	for s := range 60 {
		at := morning.Add(time.Duration(s) * time.Second)
		spans := f.Second(nil, at, nil)
		type key struct {
			trace [16]byte
			id    [8]byte
		}
		byID := map[key]*Span{}
		for i := range spans {
			k := key{spans[i].Trace, spans[i].ID}
			if byID[k] != nil {
				t.Fatal("two spans have the same id")
			}
			byID[k] = &spans[i]
		}
		for _, x := range spans {
			if x.Start > x.End || x.End < at.UnixNano()-int64(30*time.Second) || x.End >= at.Add(time.Second).UnixNano() {
				t.Fatalf("%s runs from %d to %d in the second %d", x.Op.Name, x.Start, x.End, at.UnixNano())
			}
			if x.Parent == [8]byte{} {
				if x.Op.Kind != Server {
					t.Fatalf("a trace begins with %q of kind %d", x.Op.Name, x.Op.Kind)
				}
				continue
			}
			p := byID[key{x.Trace, x.Parent}]
			if p == nil {
				t.Fatalf("%s has a parent that is not in its trace", x.Op.Name)
			}
			if x.Start < p.Start || x.Op.Kind != Consumer && x.End > p.End {
				t.Fatalf("%s is not within %s", x.Op.Name, p.Op.Name)
			}
			if x.Op.Kind == Server && p.Op.Service != x.Op.Service {
				crossing++
			}
			if x.Op.Kind == Consumer && p.Op.Kind == Producer {
				queued++
			}
		}
	}
	if crossing == 0 || queued == 0 {
		t.Errorf("%d calls between services and %d messages, want some of both", crossing, queued)
	}
}

func TestRatesAreAsAsked(t *testing.T) {
	c := NewCompany()
	f := NewTraffic(c, 3, 20, 0)
	var want float64
	got := 0
	for s := range 600 {
		at := morning.Add(time.Duration(s) * time.Second)
		for _, who := range c.Tenants {
			want += f.Rate(who, at)
		}
		for _, x := range f.Second(nil, at, nil) {
			if x.Parent == [8]byte{} {
				got++
			}
		}
	}
	if math.Abs(float64(got)-want) > 4*math.Sqrt(want) {
		t.Errorf("%d requests in ten minutes, want about %.0f", got, want)
	}
}

func TestPoisson(t *testing.T) {
	f := NewTraffic(NewCompany(), 1, 1, 0)
	check := func(mean float64) {
		t.Helper()
		const draws = 20_000
		sum := 0
		for range draws {
			sum += f.poisson(mean)
		}
		if got := float64(sum) / draws; math.Abs(got-mean) > 4*math.Sqrt(mean/draws) {
			t.Errorf("poisson(%v) has mean %v", mean, got)
		}
	}
	check(0)
	check(.05)
	check(3)
	check(60)
	check(500)
}

// A day without trouble leaves most budgets whole: of all pairs of SLO and tenant, at least nine in ten keep half, and
// nobody is overspent but whom the model lets trickle.
func TestADayWithoutTroubleIsHealthy(t *testing.T) {
	c := NewCompany()
	f := NewTraffic(c, defaultSeed, defaultRate, 0)
	n := counts{defs: parsedSLOs(t), by: map[pair]slo.Counts{}}
	var spans []Span
	for s := range 86_400 / 4 { // every fourth second stands for four
		spans = f.Second(spans[:0], morning.Add(time.Duration(4*s)*time.Second), nil)
		n.add(spans)
	}
	pairs, half := 0, 0
	for k, v := range n.by {
		left := 1 - v.ErrorRatio()/(1-k.def.TargetFor(k.who.ID, k.who.Plan).Fraction())
		pairs++
		if left >= .5 {
			half++
		}
		if _, known := trickles[k.who.Name]; left < 0 && !known && v.Bad() > 2 {
			t.Errorf("%s of %s: %d of %d failed, %.0f %% of the budget is left", k.def.Name, k.who.Name, v.Bad(), v.Total, 100*left)
		}
	}
	if pairs < 7*35 || float64(half) < .9*float64(pairs) {
		t.Errorf("%d of %d pairs have half of their budget or more", half, pairs)
	}
}

// counts are good and total requests by SLO and tenant, counted as the SLOs' files say.
type counts struct {
	defs []slo.Definition
	by   map[pair]slo.Counts
}

type pair struct {
	def *slo.Definition
	who *Tenant
}

func (n *counts) add(spans []Span) {
	for i := range spans {
		s := &spans[i]
		if !s.Op.entry() {
			continue
		}
		for j := range n.defs {
			d := &n.defs[j]
			if !selects(d, s) {
				continue
			}
			k := pair{d, s.Tenant}
			v := n.by[k]
			v.Total++
			if s.Failure == nil && (d.Kind != slo.Latency || time.Duration(s.End-s.Start) <= d.Threshold) {
				v.Good++
			}
			n.by[k] = v
		}
	}
}

func selects(d *slo.Definition, s *Span) bool {
	path, method := "", ""
	for _, a := range s.Op.Attrs {
		switch a.Key {
		case "http.route":
			path = a.Text
		case "http.request.method":
			method = a.Text
		}
	}
	x := d.Selector
	switch {
	case x.Product != s.Op.Service.Product.Name, x.Service != "" && x.Service != s.Op.Service.Name:
		return false
	case len(x.Methods) > 0 && x.Methods[0] != method, len(x.Routes) > 0 && x.Routes[0] != path:
		return false
	}
	for _, r := range x.ExcludeRoutes { // the demo's files leave out by suffix only
		if suffix := r[1:]; len(path) >= len(suffix) && path[len(path)-len(suffix):] == suffix {
			return false
		}
	}
	return true
}

func TestEffects(t *testing.T) {
	c := NewCompany()
	f := NewTraffic(c, 1, 60, 0)
	r := c.Route("checkout POST /checkout")
	db := c.Instance("pg-billing-1")
	flooder := c.Tenants[12]
	imports := c.Route("catalog POST /catalog/import")
	effects := []Effect{
		{Deploy: &Deploy{Route: r, Cells: []int{0}, Share: 1, Failure: Failure{Step: -1, Status: 500, Type: "T", Message: "M"}}},
		{Slow: &Slow{Instance: db, Times: 10}},
		{Flood: &Flood{Tenant: flooder.ID, Route: imports, Times: 20}},
	}
	type sums struct{ failed, checkouts, calls, floods int }
	measure := func(effects []Effect) (hit, spared sums, busy time.Duration, version string) {
		for s := range 300 {
			for _, x := range f.Second(nil, morning.Add(time.Duration(s)*time.Second), effects) {
				n := &hit
				if x.Tenant.Cell != 0 {
					n = &spared
				}
				if x.Op == r.Entry {
					n.checkouts++
					version = x.Version
					if x.Failure != nil {
						n.failed++
					}
				}
				if x.Op.Instance == db {
					n.calls++
					busy += time.Duration(x.End - x.Start)
				}
				if x.Op == imports.Entry && x.Tenant == flooder {
					n.floods++
				}
			}
		}
		return hit, spared, busy, version
	}
	hit, spared, busy, version := measure(nil)
	hitNow, sparedNow, busyNow, versionNow := measure(effects)
	if hitNow.failed != hitNow.checkouts || sparedNow.failed > sparedNow.checkouts/50 {
		t.Errorf("%d of %d checkouts fail in the cell of the deploy, %d of %d elsewhere", hitNow.failed, hitNow.checkouts, sparedNow.failed, sparedNow.checkouts)
	}
	if version == versionNow || versionNow != r.Entry.Service.NextVersion(morning) {
		t.Errorf("the version is %s before and %s during the deploy", version, versionNow)
	}
	calls, callsNow := hit.calls+spared.calls, hitNow.calls+sparedNow.calls
	if ratio := float64(busyNow) / float64(callsNow) / (float64(busy) / float64(calls)); ratio < 7 || ratio > 13 {
		t.Errorf("calls to the slow database take %.1f times as long, want about 10", ratio)
	}
	if floods := hitNow.floods + sparedNow.floods; floods < 20*(hit.floods+spared.floods+1) {
		t.Errorf("%d imports in the flood and %d before it", floods, hit.floods+spared.floods)
	}
}
