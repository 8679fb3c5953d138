package statuspage

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is an SLOReader whose numbers a test sets.
type fleet struct {
	mu   sync.Mutex
	err  error
	slos map[string]*fleetSLO
}

type fleetSLO struct {
	kind           slo.Kind
	now            slo.Counts // of the last 5 minutes
	paging         bool
	tenants, burnt int
	days           map[int]slo.Counts // by days ago
}

var errAway = errors.New("clickhouse is away")

func (f *fleet) set(err error, change func(map[string]*fleetSLO)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	if change != nil {
		change(f.slos)
	}
}

func (f *fleet) Snapshot(context.Context) (*slo.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	s := &slo.Snapshot{At: time.Now()}
	for name, x := range f.slos {
		s.SLOs = append(s.SLOs, slo.Definition{Name: name, Kind: x.kind, Target: 999_000})
		state := slo.StateOK
		if x.paging {
			state = slo.StatePage
		}
		pair := slo.BurnRate{BurnWindow: slo.BurnWindow{Long: time.Hour, Short: 5 * time.Minute}, ShortCounts: x.now, LongCounts: x.now}
		long := slo.BurnRate{BurnWindow: slo.BurnWindow{Long: 6 * time.Hour, Short: 30 * time.Minute}, ShortCounts: x.now, LongCounts: x.now}
		s.Fleet = append(s.Fleet, slo.Status{SLO: name, Target: 999_000, State: state, Counts: x.now, BurnRates: []slo.BurnRate{long, pair}})
		for i := range x.tenants {
			st := slo.Status{SLO: name, Tenant: tenant.ID("secret-tenant"), State: slo.StateOK, Counts: slo.Counts{Good: 1, Total: 1}}
			if i < x.burnt {
				st.State = slo.StatePage
			}
			s.Statuses = append(s.Statuses, st)
		}
	}
	return s, nil
}

func (f *fleet) Days(_ context.Context, name string, days int) ([]slo.DayCounts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	out := make([]slo.DayCounts, days)
	for i := range out {
		out[i] = slo.DayCounts{Day: today.AddDate(0, 0, i-days+1), Counts: f.slos[name].days[days-1-i]}
	}
	return out, nil
}

// calm returns an SLO of a good day, with days of history.
func calm(days int) *fleetSLO {
	x := &fleetSLO{kind: slo.Availability, now: slo.Counts{Good: 1000, Total: 1000}, tenants: 40, days: map[int]slo.Counts{}}
	for d := range days {
		x.days[d] = slo.Counts{Good: 99_990, Total: 99_993}
	}
	return x
}

type env struct {
	*Service
	fleet *fleet
	pool  *pgxpool.Pool
	dir   string
}

const baseURL = "https://status.larkfield.example"

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{pool: testenv.NewPostgres(t).Pool, fleet: &fleet{slos: map[string]*fleetSLO{}}, dir: t.TempDir()}
	e.open(t)
	return e
}

// open starts the service anew over the same databases and directory.
func (e *env) open(t testing.TB) {
	t.Helper()
	s, err := New(Options{Pool: e.pool, SLO: e.fleet, Dir: e.dir, Name: "Larkfield", BaseURL: baseURL + "/", Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	e.Service = s
}

func (e *env) refresh(t testing.TB) {
	t.Helper()
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// run runs the publisher until the test ends or stop is called.
func (e *env) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (e *env) get(t testing.TB, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	return w
}

// body returns a page that must be there.
func (e *env) body(t testing.TB, path string) string {
	t.Helper()
	w := e.get(t, path)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func (e *env) component(t testing.TB, c Component) Component {
	t.Helper()
	c.Visible = true
	c, err := e.CreateComponent(t.Context(), "tester", c)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *env) incident(t testing.TB, n NewIncident) Incident {
	t.Helper()
	i, err := e.OpenIncident(t.Context(), "secret-actor", n)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (e *env) update(t testing.TB, id string, u NewUpdate) Incident {
	t.Helper()
	i, err := e.AddUpdate(t.Context(), "secret-actor", id, u)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// seed fills a page with all that it can hold: a company, an incident that goes on, past ones, a changelog.
func (e *env) seed(t testing.TB) {
	t.Helper()
	ago := func(d time.Duration) time.Time { return time.Now().UTC().Add(-d).Truncate(time.Second) }
	const day = 24 * time.Hour
	e.fleet.set(nil, func(m map[string]*fleetSLO) {
		for _, n := range []string{"storefront", "checkout", "search", "import", "invoices", "tickets", "login"} {
			m[n] = calm(60)
		}
		m["checkout"].now = slo.Counts{Good: 880, Total: 1000}
		m["checkout"].days[12] = slo.Counts{Good: 99_000, Total: 100_000}
		m["checkout"].days[33] = slo.Counts{Good: 70_000, Total: 100_000}
		m["search"].days[20] = slo.Counts{Good: 10_000, Total: 100_000}
		m["login"] = calm(90)
		m["checkout-latency"] = &fleetSLO{kind: slo.Latency, now: slo.Counts{Good: 100, Total: 1000}}
	})
	for i, c := range []Component{
		{Name: "Storefront", Group: "Commerce", SLOs: []string{"storefront"}},
		{Name: "Checkout", Group: "Commerce", Description: "Carts, payment, order confirmation", SLOs: []string{"checkout", "checkout-latency"}},
		{Name: "Search", Group: "Commerce", SLOs: []string{"search"}},
		{Name: "Catalogue import", Group: "Commerce", Description: "Bulk changes to products", SLOs: []string{"import"}},
		{Name: "Invoices", Group: "Ledger", SLOs: []string{"invoices"}},
		{Name: "Payouts", Group: "Ledger"},
		{Name: "Tickets", Group: "Support", SLOs: []string{"tickets"}},
		{Name: "Sign-in", SLOs: []string{"login"}, Description: "For all products"},
	} {
		c.Position = i
		e.component(t, c)
	}
	old := e.incident(t, NewIncident{Name: "Checkout errors for 14 minutes", StartedAt: ago(12*day + time.Hour), First: NewUpdate{
		Body: "Some checkouts fail since a few minutes ago.", DisplayAt: ago(12*day + 50*time.Minute),
		Affected: []Affected{{"checkout", Partial}}}})
	e.update(t, old.ID, NewUpdate{Status: Resolved, DisplayAt: ago(12*day + 46*time.Minute),
		Body: "A burst of traffic exhausted a limit. We **raised it** and fixed a retry that made it worse ([changelog](/changelog#retry))."})
	older := e.incident(t, NewIncident{Name: "Invoices were late", Impact: ImpactMinor, StartedAt: ago(70 * day), First: NewUpdate{
		Status: Monitoring, Body: "Invoices go out with a delay of up to an hour.", DisplayAt: ago(70*day - time.Minute)}})
	e.update(t, older.ID, NewUpdate{Status: Resolved, Body: "All invoices are out.", DisplayAt: ago(70*day - time.Hour)})
	now := e.incident(t, NewIncident{Name: "Some checkouts are failing", StartedAt: ago(38 * time.Minute), First: NewUpdate{
		Body: "About 1 in 10 checkouts fails for some customers. We are looking into it.", DisplayAt: ago(33 * time.Minute),
		Affected: []Affected{{"checkout", Partial}}}})
	e.update(t, now.ID, NewUpdate{Status: Identified, DisplayAt: ago(19 * time.Minute),
		Body:     "One of our databases is overloaded by an unusually large import. We are slowing the import down.\n\n- Other imports take longer than usual.\n- Trying a failed checkout again is safe: nobody is charged twice.",
		Affected: []Affected{{"catalogue-import", Degraded}}})
	e.update(t, now.ID, NewUpdate{Status: Identified, Body: "Failures are falling. ~~7~~ 6 in 100 checkouts fail.", DisplayAt: ago(6 * time.Minute)})
	soon := time.Now().UTC().Add(97 * day)
	for _, c := range []Entry{
		{ID: "carts", Title: "Carts are kept for 30 days", Type: Added, Product: "Commerce", Version: "2.114.0", PublishedAt: ago(time.Hour),
			Body: "A shopper who comes back within 30 days finds the cart as it was left.\n\n- On by default. To change the time, set `cart.keep_days`.\n- Guests keep their cart on the same device only."},
		{ID: "invoices", Title: "Invoices in fourteen languages", Type: Changed, Product: "Ledger", Version: "5.31.0", PublishedAt: ago(3 * day),
			Body: "Invoices go out in the language of the customer’s record."},
		{ID: "export-v1", Title: "Export API v1 ends", Type: Deprecated, Product: "API", Version: "2026-11", PublishedAt: ago(6 * day), EffectiveAt: &soon,
			Body: "Calls to v1 now answer with a header that says when they stop:\n\n```\nDeprecation: @1794960000\nSunset: Mon, 01 Mar 2027 00:00:00 GMT\nLink: <https://docs.larkfield.example/export/v2>; rel=\"successor-version\"\n```"},
		{ID: "sig", Title: "Webhooks: only SHA-256 signatures", Type: Security, Product: "Support", Version: "3.8.0", PublishedAt: ago(7 * day),
			Body: "The old SHA-1 header is gone. <script>alert(1)</script> See [how to check](https://docs.larkfield.example/sig) or [not](javascript:alert(1))."},
		{ID: "retry", Title: "Checkout: a retry no longer makes an outage worse", Type: Fixed, Product: "Commerce", Version: "2.112.1", PublishedAt: ago(11 * day),
			Body: "## What happened\n\nEach failed checkout was tried three times at once. It is now tried once."},
	} {
		if _, err := e.CreateEntry(t.Context(), "tester", c); err != nil {
			t.Fatal(err)
		}
	}
}
