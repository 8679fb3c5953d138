package statuspage

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

// eventually waits for what another goroutine does; the deadline is only for a test that fails.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		if ok() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestPublishedAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.o.Interval = time.Hour // only what is written here can wake the publisher
	e.run(t)
	eventually(t, "a first page", func() bool { return e.get(t, "/").Code == http.StatusOK })
	i := e.incident(t, NewIncident{Name: "Fresh trouble", First: NewUpdate{Body: "Look."}})
	eventually(t, "the incident on the page", func() bool { return strings.Contains(e.body(t, "/"), "Fresh trouble") })
	eventually(t, "the incident in the feed", func() bool { return strings.Contains(e.body(t, "/feed.atom"), i.ID) })
}

// TestBothDatabasesAway is promise 6: the last good state is served while both are away, and after a restart without them.
func TestBothDatabasesAway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.seed(t)
	stop := e.run(t)
	eventually(t, "a measured page", func() bool {
		w := e.get(t, "/")
		return w.Code == http.StatusOK && strings.Contains(w.Body.String(), "About 12 in 100")
	})
	e.fleet.set(errAway, nil)
	e.pool.Close()
	before := e.View()
	for range 3 { // looks at the databases come and go
		now := time.Now()
		eventually(t, "another look", func() bool { return time.Since(now) > 3*e.o.Interval })
		if home := e.body(t, "/"); !strings.Contains(home, "Some checkouts are failing") || !strings.Contains(home, "About 12 in 100") {
			t.Fatal("the last good state is gone")
		}
	}
	if got := e.View(); !got.RecordsAt.Equal(before.RecordsAt) || len(got.Incidents) != 3 {
		t.Errorf("the view changed: %s, %d incidents", got.RecordsAt, len(got.Incidents))
	}
	stop()

	e.open(t) // restarts with both away
	home := e.body(t, "/")
	for _, want := range []string{"Some checkouts are failing", "Checkout errors for 14 minutes", "Carts are kept for 30 days"} {
		if !strings.Contains(home, want) {
			t.Errorf("after a restart the page does not say %q", want)
		}
	}
	e.body(t, "/api/v2/summary.json")
	e.body(t, "/incidents/"+before.Incidents[0].ID)
	stop = e.run(t)
	now := time.Now()
	eventually(t, "looks in vain", func() bool { return time.Since(now) > 3*e.o.Interval })
	if e.body(t, "/") != home && !strings.Contains(e.body(t, "/"), "Some checkouts are failing") {
		t.Error("a look in vain lost the page")
	}
	stop()

	// As time goes by the page says how old it is.
	st := e.last.Load()
	if err := e.render(st.View, st.View.RecordsAt.Add(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if home := e.body(t, "/"); !strings.Contains(home, "We cannot read newer information at the moment") || !strings.Contains(home, "\u202fmin ago. We cannot") {
		t.Error("an old page does not say its age")
	}
}

// TestOneDatabaseAway shows that the two sources do not hold each other back.
func TestOneDatabaseAway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.seed(t)
	e.refresh(t)
	e.fleet.set(errAway, nil)
	e.incident(t, NewIncident{Name: "Told without measurements", First: NewUpdate{Body: "Look."}})
	if err := e.Refresh(t.Context()); err == nil {
		t.Error("Refresh does not tell that ClickHouse is away")
	}
	home := e.body(t, "/")
	if !strings.Contains(home, "Told without measurements") || !strings.Contains(home, "99.996") {
		t.Error("a new incident or the known days are missing")
	}
	v := *e.View()
	v.MeasuredAt = v.MeasuredAt.Add(-10 * time.Minute)
	if err := e.render(&v, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(e.body(t, "/"), "We cannot measure at the moment") {
		t.Error("the page does not say that its measurements are old")
	}
}

// hanging is an SLOReader that answers only when it is given up.
type hanging struct{}

func (hanging) Snapshot(ctx context.Context) (*slo.Snapshot, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hanging) Days(ctx context.Context, _ string, _ int) ([]slo.DayCounts, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowMeasurementHoldsNothingBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.component(t, Component{Name: "Search", SLOs: []string{"search"}})
	e.o.SLO = hanging{}
	e.o.Interval = time.Hour
	e.run(t)
	eventually(t, "a page without measurements", func() bool { return e.get(t, "/").Code == http.StatusOK })
	e.incident(t, NewIncident{Name: "Fresh trouble", First: NewUpdate{Body: "Look."}})
	eventually(t, "the incident on the page", func() bool { return strings.Contains(e.body(t, "/"), "Fresh trouble") })
}

func TestBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.get(t, "/")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || e.Ready(t.Context()) == nil {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	e.refresh(t)
	if w := e.get(t, "/"); w.Code != http.StatusOK || e.Ready(t.Context()) != nil || !strings.Contains(w.Body.String(), "Nothing has been reported") {
		t.Errorf("empty page: %d", w.Code)
	}
}

func TestBrokenSnapshotIsNoDisaster(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.seed(t)
	e.refresh(t)
	file := filepath.Join(e.dir, "statuspage.snapshot")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for name, b := range map[string][]byte{"cut off": whole[:len(whole)/2], "empty": nil, "of another version": bytes.Replace(whole, []byte(`"version":1`), []byte(`"version":9`), 1)} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		e.open(t)
		if e.View() != nil {
			t.Errorf("a snapshot %s was read", name)
		}
		e.refresh(t)
		e.body(t, "/")
	}
	left, err := filepath.Glob(filepath.Join(e.dir, ".statuspage-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestFailuresAreLoggedOnce(t *testing.T) {
	var b lockedBuffer
	p := &publisher{s: &Service{log: slog.New(slog.NewTextHandler(&b, nil))}, failing: map[string]bool{}}
	for range 5 {
		p.note(t.Context(), "clickhouse", errAway)
	}
	p.note(t.Context(), "clickhouse", nil)
	p.note(t.Context(), "clickhouse", nil)
	if n := strings.Count(b.String(), "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, b.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestPagesOfOneMinuteAreTheSame keeps caches and readers from loading what did not change.
func TestPagesOfOneMinuteAreTheSame(t *testing.T) {
	s := &Service{o: Options{BaseURL: baseURL, Name: "x", StaleAfter: 2 * time.Minute, MaxMonths: 2}}
	v := buildState("x", recordsOf(Component{}), nil, nil, noon).View
	tag := func(at time.Time) string {
		t.Helper()
		v.RecordsAt = at
		if err := s.render(v, at); err != nil {
			t.Fatal(err)
		}
		return s.site.Load().pages["/"].etag
	}
	if tag(noon.Add(time.Second)) != tag(noon.Add(59*time.Second)) {
		t.Error("a page changed within a minute")
	}
}
