package slo

import (
	"bufio"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

// The scripts in testdata/*.test say a line at a time what happens and what must be true then:
//
//	slo NAME target PERCENT [window 28d] [calendar 1w/AGO/ZONE] [confidence 0.95] [threshold 1s] [plan NAME=PERCENT] [tenant NAME=PERCENT]
//	delete NAME                                   deletes the SLO
//	plan TENANT NAME                              puts the tenant on a plan
//	traffic TENANT N/s|m|h [failing PERCENT]      from now on; 0/s is none
//	load TENANT N [failing N] [at DURATION ago]   that many requests at once
//	correct NAME TENANT|all from DURATION ago|ahead for DURATION   leaves that out, from the minute on in which it begins
//	revoke NAME
//	advance DURATION [every DURATION]             lets time pass, evaluating at each step (10s by default)
//	mark                                          what "after" counts from
//	expect TENANT state STATE                     also fleet in place of a tenant, and SLO/TENANT where there are several
//	expect TENANT budget|burn WINDOW|lower WINDOW|good|total|exhausts =|~|<|> VALUE
//	expect alerts [SEVERITY:SLO/TENANT …]         all that are open, in any order; none is "none"
//	expect opened|resolved SEVERITY:SLO/TENANT after DURATION..DURATION
//
// A number with ~ may be off by 2 %. Times begin at midnight, counts go through the rollups of a real ClickHouse, and
// alerts open and resolve as package alerting promises.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.test")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test"), func(t *testing.T) {
			t.Parallel()
			s := &scenario{env: newEnv(t), t: t, traffic: map[string]*traffic{}, open: map[alerting.Key]bool{}, opened: map[string]time.Time{}, resolved: map[string]time.Time{}, corrections: map[string]string{}}
			s.now = time.Now().UTC().Truncate(day).Add(-day)
			s.marked = s.now
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			lines := bufio.NewScanner(f)
			for n := 1; lines.Scan(); n++ {
				line, _, _ := strings.Cut(lines.Text(), "#")
				if words := strings.Fields(line); len(words) > 0 {
					s.place = fmt.Sprintf("%s:%d: %s", file, n, strings.TrimSpace(line))
					s.run(words)
				}
			}
		})
	}
}

type scenario struct {
	*env
	t        *testing.T
	place    string
	now      time.Time
	marked   time.Time
	traffic  map[string]*traffic
	writes   int
	snapshot *Snapshot
	open     map[alerting.Key]bool
	opened   map[string]time.Time
	resolved map[string]time.Time

	corrections map[string]string // ids by name
}

// traffic is an even stream of requests.
type traffic struct {
	since     time.Time
	perSecond float64
	failing   float64
}

// until returns how many requests the stream had by a moment.
func (r *traffic) until(at time.Time) (c Counts) {
	c.Total = uint64(math.Round(r.perSecond*at.Sub(r.since).Seconds()*1e6) / 1e6)
	return Counts{Total: c.Total, Good: c.Total - uint64(math.Round(float64(c.Total)*r.failing*1e6)/1e6)}
}

func (s *scenario) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n\t%s", s.place, fmt.Sprintf(format, args...))
}

func (s *scenario) check(err error) {
	s.t.Helper()
	if err != nil {
		s.fail("%v", err)
	}
}

// duration reads Go's durations and d for days.
func (s *scenario) duration(w string) time.Duration {
	s.t.Helper()
	if n, ok := strings.CutSuffix(w, "d"); ok {
		return time.Duration(s.number(n) * float64(day))
	}
	d, err := time.ParseDuration(w)
	s.check(err)
	return d
}

func (s *scenario) number(w string) float64 {
	s.t.Helper()
	f, err := strconv.ParseFloat(strings.TrimSuffix(w, "%"), 64)
	s.check(err)
	if strings.HasSuffix(w, "%") {
		f /= 100
	}
	return f
}

func (s *scenario) run(w []string) {
	s.t.Helper()
	switch w[0] {
	case "slo":
		s.applySLO(w[1], w[2:])
	case "delete":
		s.check(s.store.Delete(s.t.Context(), "tester", w[1]))
	case "correct":
		at := s.now.Add(-s.duration(w[4]))
		if w[5] == "ahead" {
			at = s.now.Add(s.duration(w[4]))
		}
		c := Correction{Reason: "planned", StartsAt: at.Truncate(time.Minute)}
		c.EndsAt = c.StartsAt.Add(s.duration(w[7]))
		if w[2] != "all" {
			c.Tenants = []tenant.ID{tenant.ID(w[2])}
		}
		added, err := s.store.AddCorrection(s.t.Context(), "tester", c)
		s.check(err)
		s.corrections[w[1]] = added.ID
	case "revoke":
		s.check(s.store.RevokeCorrection(s.t.Context(), "tester", s.corrections[w[1]], "it did count"))
	case "plan":
		s.plans[tenant.ID(w[1])] = tenant.Plan(w[2])
	case "traffic":
		n, unit, _ := strings.Cut(w[2], "/")
		r := &traffic{since: s.now, perSecond: s.number(n) / map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]}
		if len(w) == 5 {
			r.failing = s.number(w[4])
		}
		s.traffic[w[1]] = r
	case "load":
		s.load(w[1:])
	case "advance":
		every := 10 * time.Second
		if len(w) == 4 {
			every = s.duration(w[3])
		}
		for end := s.now.Add(s.duration(w[1])); s.now.Before(end); {
			to := s.now.Add(every)
			if to.After(end) {
				to = end
			}
			s.pass(to)
			s.evaluate()
		}
	case "mark":
		s.marked = s.now
	case "expect":
		s.expect(w[1:])
	default:
		s.fail("unknown command")
	}
}

func (s *scenario) applySLO(name string, w []string) {
	s.t.Helper()
	var target string
	var lines []string
	window, annotations := "duration: 30d", []string{}
	plans, tenants := []string{}, []string{}
	for i := 0; i+1 < len(w); i += 2 {
		switch v := w[i+1]; w[i] {
		case "target":
			target = v
		case "window":
			window = "duration: " + v
		case "calendar": // of which a period began so long ago, on a full hour
			parts := strings.SplitN(v, "/", 3)
			zone, err := time.LoadLocation(parts[2])
			s.check(err)
			start := s.now.Add(-s.duration(parts[1])).In(zone).Format(calendarLayout)
			window = fmt.Sprintf("duration: %s, calendar: {startTime: %q, timeZone: %s}", parts[0], start, parts[2])
		case "confidence":
			annotations = append(annotations, fmt.Sprintf("headroom/confidence: %q", v))
		case "threshold":
			lines = append(lines, "threshold: "+v)
		case "plan":
			plans = append(plans, strings.Replace(v, "=", ": ", 1))
		case "tenant":
			tenants = append(tenants, strings.Replace(v, "=", ": ", 1))
		default:
			s.fail("unknown option %q", w[i])
		}
	}
	if len(plans) > 0 {
		annotations = append(annotations, fmt.Sprintf("headroom/targetsByPlan: '{%s}'", strings.Join(plans, ", ")))
	}
	if len(tenants) > 0 {
		annotations = append(annotations, fmt.Sprintf("headroom/targetsByTenant: '{%s}'", strings.Join(tenants, ", ")))
	}
	src := yamlSLO(name, target, lines...)
	src = strings.Replace(src, "metadata: {name: "+name+"}", "metadata: {name: "+name+", annotations: {"+strings.Join(annotations, ", ")+"}}", 1)
	src = strings.Replace(src, "spec:\n", "spec:\n  timeWindow: [{"+window+"}]\n", 1)
	s.apply(s.t, src)
}

func (s *scenario) load(w []string) {
	s.t.Helper()
	at, failing, n := s.now, 0.0, s.number(w[1])
	for i := 2; i+1 < len(w); i += 2 {
		switch w[i] {
		case "failing":
			failing = s.number(w[i+1])
		case "at":
			at = s.now.Add(-s.duration(w[i+1]))
			i++ // ago
		default:
			s.fail("unknown option %q", w[i])
		}
	}
	s.write(map[string]map[time.Time]Counts{w[0]: {at.Truncate(time.Minute): {Total: uint64(n), Good: uint64(n - failing)}}})
	s.evaluate()
}

// pass lets the streams run until to.
func (s *scenario) pass(to time.Time) {
	s.t.Helper()
	counts := map[string]map[time.Time]Counts{}
	for id, r := range s.traffic {
		counts[id] = map[time.Time]Counts{}
		for from := s.now; from.Before(to); {
			next := from.Truncate(time.Minute).Add(time.Minute)
			if next.After(to) {
				next = to
			}
			before, after := r.until(from), r.until(next)
			counts[id][from.Truncate(time.Minute)] = Counts{Good: after.Good - before.Good, Total: after.Total - before.Total}
			from = next
		}
	}
	s.now = to
	s.write(counts)
}

// write adds counts to every SLO.
func (s *scenario) write(counts map[string]map[time.Time]Counts) {
	s.t.Helper()
	defs, err := s.store.List(s.t.Context())
	s.check(err)
	// Two steps may well write the same rows, which ClickHouse would take for a repeated insert.
	ctx := ch.Context(s.t.Context(), ch.WithSettings(ch.Settings{"insert_deduplication_token": fmt.Sprint(s.writes)}))
	s.writes++
	batch, err := s.ch.Owner.PrepareBatch(ctx, "INSERT INTO sli_1m")
	s.check(err)
	for id, minutes := range counts {
		for m, c := range minutes {
			for _, d := range defs {
				if c.Total > 0 {
					s.check(batch.Append(d.Name, d.SLIRevision, id, m, c.Good, c.Total))
				}
			}
		}
	}
	s.check(batch.Send())
}

// evaluate does a cycle and keeps the alerts as alerting promises to.
func (s *scenario) evaluate() {
	s.t.Helper()
	var err error
	s.snapshot, err = s.reader.Evaluate(s.t.Context(), s.now)
	s.check(err)
	o := observe(s.snapshot)
	firing := map[alerting.Key]bool{}
	for _, c := range o.Firing {
		k := alerting.Key{Rule: c.Rule, Tenant: c.Tenant, Severity: c.Severity}
		if firing[k] = true; !s.open[k] {
			s.open[k] = true
			s.opened[alertName(k)] = s.now
		}
	}
	for k := range s.open {
		if !firing[k] && o.Evaluated(k) {
			delete(s.open, k)
			s.resolved[alertName(k)] = s.now
		}
	}
}

func alertName(k alerting.Key) string { return fmt.Sprintf("%s:%s/%s", k.Severity, k.Rule, k.Tenant) }

func (s *scenario) expect(w []string) {
	s.t.Helper()
	switch w[0] {
	case "alerts":
		want := slices.Sorted(slices.Values(w[1:]))
		if len(want) == 1 && want[0] == "none" {
			want = nil
		}
		var got []string
		for k := range maps.Keys(s.open) {
			got = append(got, alertName(k))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			s.fail("open are %v", got)
		}
	case "opened", "resolved":
		at, ok := s.opened[w[1]]
		if w[0] == "resolved" {
			at, ok = s.resolved[w[1]]
		}
		low, high, _ := strings.Cut(w[3], "..")
		if after := at.Sub(s.marked); !ok || after < s.duration(low) || after > s.duration(high) {
			s.fail("%s: %v, after %s", w[0], ok, after)
		}
	default:
		s.expectStatus(s.status(w[0]), w[1:])
	}
}

func (s *scenario) status(of string) *Status {
	s.t.Helper()
	if s.snapshot == nil {
		s.evaluate()
	}
	name, id, ok := strings.Cut(of, "/")
	if !ok {
		name, id = s.snapshot.SLOs[0].Name, of
	}
	list := s.snapshot.Statuses
	if id == "fleet" {
		id, list = "", s.snapshot.Fleet
	}
	for i := range list {
		if list[i].SLO == name && string(list[i].Tenant) == id {
			return &list[i]
		}
	}
	st, err := s.reader.Status(s.t.Context(), tenant.ID(id), name, s.now)
	s.check(err)
	return st
}

func (s *scenario) expectStatus(st *Status, w []string) {
	s.t.Helper()
	pair := func() *BurnRate {
		for i := range st.BurnRates {
			if st.BurnRates[i].Long == s.duration(w[1]) {
				return &st.BurnRates[i]
			}
		}
		s.fail("no such window")
		return nil
	}
	var got float64
	switch w[0] {
	case "state":
		if string(st.State) != w[1] {
			s.fail("state is %s; %d good of %d, budget %v, %+v", st.State, st.Good, st.Total, st.ErrorBudgetRemaining, st.BurnRates)
		}
		return
	case "budget":
		got = st.ErrorBudgetRemaining
	case "good":
		got = float64(st.Good)
	case "total":
		got = float64(st.Total)
	case "burn":
		got, w = pair().LongRate, w[1:]
	case "lower":
		got, w = pair().LowerRate(), w[1:]
	case "exhausts":
		if w[1] == "never" {
			if st.ExhaustsAt != nil {
				s.fail("exhausts at %s", st.ExhaustsAt)
			}
			return
		}
		if st.ExhaustsAt == nil {
			s.fail("never exhausts")
		}
		got, w[2] = st.ExhaustsAt.Sub(s.now).Seconds(), fmt.Sprint(s.duration(w[2]).Seconds())
	default:
		s.fail("unknown expectation")
	}
	want := s.number(w[2])
	ok := map[string]bool{
		"=": math.Abs(got-want) < 1e-9, "~": math.Abs(got-want) <= 0.02*math.Abs(want), "<": got < want, ">": got > want,
	}[w[1]]
	if !ok {
		s.fail("got %v", got)
	}
}
