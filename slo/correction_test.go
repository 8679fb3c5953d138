package slo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// Sunday's maintenance is at the same time of the clock before and after summer time, and as long.
func TestCorrectionRepeatsByTheClock(t *testing.T) {
	c := Correction{
		Reason: "x", StartsAt: at("2026-10-18T03:30:00+02:00"), EndsAt: at("2026-10-18T05:00:00+02:00"), Repeats: "FREQ=WEEKLY;BYDAY=SU;COUNT=3", TimeZone: "Europe/Berlin",
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	f := func(from, to string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range c.spans(at(from), at(to)) {
			got = append(got, s.from.Format(time.RFC3339)+" "+s.to.Format(time.RFC3339))
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %s to %s: %q, want %q", from, to, got, want)
		}
	}
	f("2026-10-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-10-18T01:30:00Z 2026-10-18T03:00:00Z",
		"2026-10-25T02:30:00Z 2026-10-25T04:00:00Z", "2026-11-01T02:30:00Z 2026-11-01T04:00:00Z")
	f("2026-10-25T03:00:00Z", "2026-10-25T03:10:00Z", "2026-10-25T03:00:00Z 2026-10-25T03:10:00Z")
	f("2026-10-19T00:00:00Z", "2026-10-25T02:30:00Z")
}

func TestCorrectionMistakes(t *testing.T) {
	f := func(field string, change func(*Correction)) {
		t.Helper()
		c := Correction{Reason: "x", StartsAt: at("2026-11-01T02:00:00Z"), EndsAt: at("2026-11-01T03:00:00Z"), TimeZone: "UTC"}
		if change(&c); c.check() == nil {
			t.Errorf("%s: nothing is wrong with %+v", field, c)
		} else if err := c.check(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	f("reason", func(c *Correction) { c.Reason = " \n" })
	f("reason", func(c *Correction) { c.Reason = strings.Repeat("x", 1001) })
	f("reason", func(c *Correction) { c.Reason = "a\x00" })
	f("starts_at", func(c *Correction) { c.StartsAt = c.StartsAt.Add(time.Second) })
	f("ends_at", func(c *Correction) { c.EndsAt = c.StartsAt })
	f("ends_at", func(c *Correction) { c.EndsAt = c.StartsAt.Add(32 * day) })
	f("time_zone", func(c *Correction) { c.TimeZone = "Mars" })
	f("repeats", func(c *Correction) { c.Repeats = "every sunday" })
	f("repeats", func(c *Correction) { c.Repeats = "FREQ=MINUTELY" })
	f("repeats", func(c *Correction) { c.Repeats = "FREQ=DAILY;BYHOUR=1,2,3" })
	f("repeats", func(c *Correction) { c.Repeats = "DTSTART=20260101T000000Z;FREQ=DAILY" })
	f("tenants", func(c *Correction) { c.Tenants = make([]tenant.ID, 1001) })
}

func TestCorrectionsAreKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	c := Correction{Reason: "x", SLOs: []string{"pay"}, Tenants: []tenant.ID{"acme"}, StartsAt: at("2026-11-01T02:00:00Z"), EndsAt: at("2026-11-01T03:00:00Z")}
	added, err := e.store.AddCorrection(t.Context(), "ann", c)
	if err != nil {
		t.Fatal(err)
	}
	c.SLOs = []string{"nothing"}
	if _, err := e.store.AddCorrection(t.Context(), "ann", c); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("of no SLO: %v", err)
	}
	if err := e.store.RevokeCorrection(t.Context(), "bob", added.ID, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without a reason: %v", err)
	}
	if err := e.store.RevokeCorrection(t.Context(), "bob", "c-none", "why"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of nothing: %v", err)
	}
	if err := e.store.RevokeCorrection(t.Context(), "bob", added.ID, "it did count"); err != nil {
		t.Fatal(err)
	}
	if err := e.store.RevokeCorrection(t.Context(), "bob", added.ID, "again"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	all, err := e.store.Corrections(t.Context(), 10)
	if err != nil || len(all) != 1 || all[0].CreatedBy != "ann" || all[0].RevokedBy != "bob" || all[0].RevokedWhy != "it did count" || all[0].TimeZone != "UTC" {
		t.Errorf("%+v, %v", all, err)
	}
	if in, err := e.store.CorrectionsInForce(t.Context()); err != nil || len(in) != 0 {
		t.Errorf("in force: %+v, %v", in, err)
	}
}

// Set operations on spans mean what they say, minute by minute.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) []span {
			var all []span
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 6).Draw(t, name) {
				from := time.Unix(int64(n)*60, 0)
				all = append(all, span{from, from.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "length")) * time.Minute)})
			}
			return all
		}
		in := func(spans []span, m time.Time) (n int) {
			for _, s := range spans {
				if !m.Before(s.from) && m.Before(s.to) {
					n++
				}
			}
			return n
		}
		rawA, rawB := draw("a"), draw("b")
		a, b := union(rawA), union(rawB)
		for i := range 90 {
			m := time.Unix(int64(i)*60, 0)
			inA, inB := in(rawA, m) > 0, in(rawB, m) > 0
			if n := in(a, m); n > 1 || (n == 1) != inA {
				t.Fatalf("minute %d is %d times in the union of %v, %v", i, n, rawA, a)
			}
			if n := in(intersect(a, b), m); n > 1 || (n == 1) != (inA && inB) {
				t.Fatalf("minute %d is %d times in both %v and %v", i, n, a, b)
			}
			if n := in(subtract(a, b), m); n > 1 || (n == 1) != (inA && !inB) {
				t.Fatalf("minute %d is %d times in %v but not %v", i, n, a, b)
			}
		}
	})
}
