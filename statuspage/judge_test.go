package statuspage

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/slo"
)

func TestJudge(t *testing.T) {
	five := func(bad, total uint64) []Window {
		return []Window{{5 * time.Minute, slo.Counts{Good: total - bad, Total: total}}, {time.Hour, slo.Counts{Good: 10*total - bad, Total: 10 * total}}}
	}
	none := []Window{{5 * time.Minute, slo.Counts{}}, {time.Hour, slo.Counts{}}}
	for name, c := range map[string]struct {
		e    Evidence
		last Status
		want Status
		data bool
	}{
		"all good":                         {Evidence{Windows: five(0, 1000)}, Operational, Operational, true},
		"total outage":                     {Evidence{Windows: five(1000, 1000)}, Operational, Major, true},
		"half fails":                       {Evidence{Windows: five(500, 1000)}, Operational, Major, true},
		"just under half":                  {Evidence{Windows: five(499, 1000)}, Operational, Partial, true},
		"a tenth fails":                    {Evidence{Windows: five(100, 1000)}, Operational, Partial, true},
		"a twentieth fails":                {Evidence{Windows: five(50, 1000)}, Operational, Degraded, true},
		"a few fail":                       {Evidence{Windows: five(49, 1000)}, Operational, Operational, true},
		"the fleet burns a page":           {Evidence{Windows: five(20, 1000), Paging: true}, Operational, Degraded, true},
		"every tenth tenant burns":         {Evidence{Windows: five(9, 1000), Tenants: 40, TenantsPaging: 4}, Operational, Degraded, true},
		"two tenants of ten burn":          {Evidence{Windows: five(9, 1000), Tenants: 10, TenantsPaging: 2}, Operational, Operational, true},
		"slow is not down":                 {Evidence{Kind: slo.Latency, Windows: five(1000, 1000)}, Operational, Degraded, true},
		"four failures are too few":        {Evidence{Windows: []Window{{5 * time.Minute, slo.Counts{Good: 16, Total: 20}}}}, Operational, Operational, true},
		"five failures of twenty":          {Evidence{Windows: []Window{{5 * time.Minute, slo.Counts{Good: 15, Total: 20}}}}, Operational, Partial, true},
		"nothing keeps what was":           {Evidence{Windows: none}, Major, Major, false},
		"nothing at first is working":      {Evidence{Windows: none}, Operational, Operational, false},
		"no windows at all":                {Evidence{}, Partial, Partial, false},
		"a failing handful proves nothing": {Evidence{Windows: []Window{{time.Hour, slo.Counts{Good: 0, Total: 3}}}}, Operational, Operational, true},
		"a failing handful ends nothing":   {Evidence{Windows: []Window{{time.Hour, slo.Counts{Good: 2, Total: 3}}}}, Major, Major, true},
		"a clean handful ends it":          {Evidence{Windows: []Window{{time.Hour, slo.Counts{Good: 3, Total: 3}}}}, Major, Operational, true},
		"quiet now, so the hour decides": {Evidence{Windows: []Window{{5 * time.Minute, slo.Counts{Good: 2, Total: 2}},
			{time.Hour, slo.Counts{Good: 10, Total: 100}}}}, Operational, Major, true},
	} {
		h := Judge(c.e, c.last)
		if h.Status != c.want || h.NoData == c.data {
			t.Errorf("%s: got %s, no data %v; want %s, no data %v", name, h.Status, h.NoData, c.want, !c.data)
		}
	}
}

// TestJudgeIsMonotonic shows that more failures among as many requests never look better.
func TestJudgeIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64Range(1, 100_000).Draw(t, "total")
		a := rapid.Uint64Range(0, total).Draw(t, "a")
		b := rapid.Uint64Range(a, total).Draw(t, "b")
		e := Evidence{Paging: rapid.Bool().Draw(t, "paging"), Kind: rapid.SampledFrom([]slo.Kind{slo.Availability, slo.Latency}).Draw(t, "kind")}
		last := rapid.SampledFrom(statuses).Draw(t, "last")
		of := func(bad uint64) Status {
			e.Windows = []Window{{5 * time.Minute, slo.Counts{Good: total - bad, Total: total}}}
			return Judge(e, last).Status
		}
		if total >= minRequests && of(b).rank() < of(a).rank() {
			t.Fatalf("%d of %d is %s, but %d is %s", a, total, of(a), b, of(b))
		}
		e.Windows = nil
		if h := Judge(e, last); h.Status != last || !h.NoData {
			t.Fatalf("without data: %+v", h)
		}
	})
}

func TestWorstHealth(t *testing.T) {
	f := func(want Status, noData bool, hs ...Health) {
		t.Helper()
		if h := worstHealth(hs); h.Status != want || h.NoData != noData {
			t.Errorf("%v: got %s, %v; want %s, %v", hs, h.Status, h.NoData, want, noData)
		}
	}
	f(Partial, false, Health{Status: Operational}, Health{Status: Partial}, Health{Status: Degraded})
	f(Operational, false, Health{Status: Operational}, Health{Status: Major, NoData: true})
	f(Operational, false, Health{Status: Major, NoData: true}, Health{Status: Operational})
	f(Major, true, Health{Status: Operational, NoData: true}, Health{Status: Major, NoData: true})
}

func TestJudgeDay(t *testing.T) {
	f := func(good, total uint64, want dayLevel) {
		t.Helper()
		if l := judgeDay(slo.Counts{Good: good, Total: total}, 0.001); l != want {
			t.Errorf("%d of %d: level %d, want %d", good, total, l, want)
		}
	}
	f(0, 0, levelNone)
	f(10, 10, levelGood)
	f(0, 4, levelGood) // too few to say
	f(99_901, 100_000, levelGood)
	f(99_899, 100_000, levelDegraded)
	f(90_000, 100_000, levelPartial)
	f(50_000, 100_000, levelMajor)
}
