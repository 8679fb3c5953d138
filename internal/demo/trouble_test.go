package demo

import (
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/nexis-limited/headroom/slo"
)

func TestScheduleComesRound(t *testing.T) {
	s := NewSchedule(NewCompany())
	f := func(offset time.Duration, want ...string) {
		t.Helper()
		got := s.At(offset)
		if len(got) != len(want) {
			t.Fatalf("%d troubles at %s, want %q", len(got), offset, want)
		}
		for i := range want {
			if got[i].Name != want[i] {
				t.Errorf("%q at %s, want %q", got[i].Name, offset, want[i])
			}
		}
	}
	f(-5 * time.Hour)
	f(-17*time.Hour-55*time.Minute, "bad deploy of invoices")
	f(-time.Second)
	f(0)
	f(firstTrouble - 1)
	f(firstTrouble, "bad deploy of checkout")
	f(firstTrouble+badDeploy-1, "bad deploy of checkout")
	f(firstTrouble + badDeploy)
	f(3*time.Minute, "slow database pg-billing-1")
	f(12*time.Minute, "noisy tenant quarry-tools")
	f(round+5*time.Minute, "noisy tenant drift-anchor")
	const turn = 8 * round
	f(turn+firstTrouble, "bad deploy of checkout")
	f(100*turn+firstTrouble, "bad deploy of checkout")
	f(100*turn+round+5*time.Minute, "noisy tenant drift-anchor")
}

// After the first turn every tenant's cell has its checkouts broken once in three turns.
func TestTurnsSpareMostCells(t *testing.T) {
	s := NewSchedule(NewCompany())
	hits := map[int]int{}
	for turn := 1; turn <= 30; turn++ {
		d := s.At(time.Duration(turn)*8*round + firstTrouble)[0].Deploy
		if len(d.Cells) != 1 {
			t.Fatalf("cells %v in turn %d, want one", d.Cells, turn)
		}
		hits[d.Cells[0]]++
	}
	for cell := range cells {
		if hits[cell] != 10 {
			t.Errorf("cell %d is hit %d times in 30 turns, want 10", cell, hits[cell])
		}
	}
}

func TestEveryTroubleIsWithinItsRound(t *testing.T) {
	s := NewSchedule(NewCompany())
	for i, r := range s.rounds {
		for _, x := range r {
			if x.From < 0 || x.Until <= x.From || x.Until > round {
				t.Errorf("round %d: %s from %s to %s", i, x.Name, x.From, x.Until)
			}
		}
	}
}

// The demo's promise, in numbers: whatever the seed, the bad deploy of checkout trips the fast pair of windows while it
// lasts or just after, the alert is over within four minutes and a half of going live, and no slower pair keeps it open.
func TestFirstTroubleAlertsAndResolves(t *testing.T) {
	const (
		lag      = 3 * time.Second // from the end of a request to its row
		interval = 10 * time.Second
	)
	c := NewCompany()
	schedule := NewSchedule(c)
	for seed := range uint64(4) {
		live := morning.Add(time.Duration(seed) * 11 * time.Second) // windows are whole minutes, so the second matters
		f := NewTraffic(c, seed, defaultRate, morningZone(live))
		byTenant := map[*Tenant][]request{}
		var spans []Span
		for s := -time.Hour; s < 6*time.Minute; s += time.Second {
			spans = f.Second(spans[:0], live.Add(s), schedule.Effects(s))
			for _, x := range spans {
				if x.Op.Name == "POST /checkout" {
					byTenant[x.Tenant] = append(byTenant[x.Tenant], request{time.Unix(0, x.End), x.Failure != nil})
				}
			}
		}
		def := definition(t, "checkout-availability")
		var fired, resolved time.Duration
		most := 0
		for at := time.Duration(0); at < 6*time.Minute; at += interval {
			now := live.Add(at)
			firing := 0
			for who, list := range byTenant {
				if who.Plan != "" && burns(def, def.TargetFor(who.ID, who.Plan), list, now, now.Add(-lag)) {
					firing++
				}
			}
			most = max(most, firing)
			if firing > 0 {
				resolved = 0
				if fired == 0 {
					fired = at
				}
			} else if fired > 0 && resolved == 0 {
				resolved = at
			}
		}
		t.Logf("seed %d: fires after %s for up to %d tenants, resolves after %s", seed, fired, most, resolved)
		if fired == 0 || fired > firstTrouble+badDeploy+interval {
			t.Errorf("seed %d: fires after %s", seed, fired)
		}
		if resolved == 0 || resolved > 4*time.Minute {
			t.Errorf("seed %d: resolves after %s", seed, resolved)
		}
	}
}

// A demo that is left running for a day stays interesting without burning everything down.
func TestADayOfTroubleLeavesBudgets(t *testing.T) {
	c := NewCompany()
	f := NewTraffic(c, defaultSeed, defaultRate, morningZone(morning))
	schedule := NewSchedule(c)
	n := counts{defs: parsedSLOs(t), by: map[pair]slo.Counts{}}
	var spans []Span
	for s := -24 * time.Hour; s < 24*time.Hour; s += 6 * time.Second { // every sixth second stands for six
		spans = f.Second(spans[:0], morning.Add(s), schedule.Effects(s))
		n.add(spans)
	}
	overspent, quarter := 0, 0
	for k, v := range n.by {
		left := 1 - v.ErrorRatio()/(1-k.def.TargetFor(k.who.ID, k.who.Plan).Fraction())
		if left < 0 {
			overspent++
		}
		if left < .25 {
			quarter++
		}
	}
	if overspent == 0 || overspent > 8 || quarter > len(n.by)/12 {
		t.Errorf("of %d pairs %d are overspent and %d have less than a quarter left", len(n.by), overspent, quarter)
	}
}

type request struct {
	end    time.Time
	failed bool
}

// burns reports whether a paging pair of windows fires, by minutes as the rollups have them: a window of n minutes is the
// present one, as far as it has come, and the n-1 before it.
func burns(d *slo.Definition, target slo.PPM, list []request, now, seen time.Time) bool {
	ratio := func(window time.Duration) (bad, total float64) {
		from := now.Truncate(time.Minute).Add(time.Minute - window)
		for i := len(list) - 1; i >= 0 && !list[i].end.Before(from); i-- {
			if list[i].end.After(seen) {
				continue
			}
			total++
			if list[i].failed {
				bad++
			}
		}
		return bad, total
	}
	for _, w := range d.Policy.Windows {
		if w.Severity != slo.Page {
			continue
		}
		limit := w.Factor * (1 - target.Fraction())
		bad, total := ratio(w.Short)
		if total == 0 || bad/total < limit {
			continue
		}
		if bad, total = ratio(w.Long); bad > 0 && bad < total && (distuv.Beta{Alpha: bad, Beta: total - bad + 1}).Quantile(1-d.Policy.Confidence) > limit {
			return true
		}
	}
	return false
}

func definition(t *testing.T, name string) *slo.Definition {
	t.Helper()
	for _, d := range parsedSLOs(t) {
		if d.Name == name {
			return &d
		}
	}
	t.Fatalf("there is no SLO %q", name)
	return nil
}
