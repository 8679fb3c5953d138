package slo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

// watcher is told what engines see.
type watcher struct {
	mu   sync.Mutex
	from []string // which engine, for each observation
	fail bool
	seen chan alerting.Observation
}

func (w *watcher) as(name string) Alerts { return observer{w, name} }

type observer struct {
	*watcher
	name string
}

func (o observer) Observe(_ context.Context, ob alerting.Observation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail {
		return errors.New("alerting is away")
	}
	o.from = append(o.from, o.name)
	select {
	case o.seen <- ob:
	default:
	}
	return nil
}

func (w *watcher) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.from)
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// start runs an engine and returns how to stop it.
func (e *env) start(t *testing.T, alerts Alerts) (*Engine, *prometheus.Registry, func()) {
	t.Helper()
	reg := prometheus.NewRegistry()
	engine, err := NewEngine(EngineOptions{
		Pool: e.pg.Pool, Store: e.store, Reader: e.reader, Alerts: alerts, Logger: discard(), Registerer: reg,
		Every: 50 * time.Millisecond, StandBy: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(stop)
	return engine, reg, stop
}

// One engine leads at a time. When its connection dies, or it stops, the other takes over.
func TestHandOver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := &watcher{}
	first, _, stopFirst := e.start(t, w.as("first"))
	until(t, "the first leads", first.Leading)
	second, _, _ := e.start(t, w.as("second"))
	until(t, "the first has observed a few times", func() bool { return len(w.names()) > 3 })
	if second.Leading() || slices.Contains(w.names(), "second") {
		t.Fatal("both lead")
	}
	// As when the leader's process is killed: PostgreSQL sees its connection end.
	tag, err := e.pg.Owner.Exec(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, leaderLock)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("ended %d connections, %v", tag.RowsAffected(), err)
	}
	until(t, "one leads again", func() bool { return first.Leading() != second.Leading() })
	stopFirst()
	began := time.Now()
	until(t, "the second leads", second.Leading)
	n := len(w.names())
	until(t, "the second observes", func() bool { return len(w.names()) > n+2 })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the hand-over took %s", took)
	}
	if names := w.names()[n+1:]; slices.Contains(names, "first") {
		t.Errorf("the first observes after it stopped: %v", names)
	}
}

// A cycle that fails is counted and the next goes on; ClickHouse is told of SLOs that it missed.
func TestEngineGoesOn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	if err := e.ch.Owner.Exec(t.Context(), `TRUNCATE TABLE slo_objectives`); err != nil {
		t.Fatal(err)
	}
	w := &watcher{fail: true, seen: make(chan alerting.Observation, 1)}
	engine, reg, _ := e.start(t, w.as("it"))
	until(t, "cycles fail", func() bool { return testutil.ToFloat64(engine.metrics.failures) > 1 })
	var active uint64
	if err := e.ch.Owner.QueryRow(t.Context(), `SELECT count() FROM slo_objectives FINAL WHERE active`).Scan(&active); err != nil || active != 1 {
		t.Errorf("%d active objectives, %v", active, err)
	}
	var rs []request
	now := time.Now()
	for i := range 600 {
		rs = append(rs, request{TS: now.Add(-time.Duration(i) * time.Second), Product: "shop", Tenant: "acme", Error: uint8(i % 2), DurationNs: 1})
	}
	e.insert(t, rs...)
	w.mu.Lock()
	w.fail = false
	w.mu.Unlock()
	var o alerting.Observation
	until(t, "it is seen burning", func() bool {
		select {
		case o = <-w.seen:
		default:
		}
		return len(o.Firing) > 0
	})
	c := o.Firing[0]
	if c.Rule != "pay" || c.Tenant != "acme" || c.Severity != alerting.Page || c.Product != "shop" || c.Burn.Bad != 300 ||
		c.Burn.Total != 600 || c.Burn.Target != "99.9\u202f%" || c.Burn.Rate < 499 || c.Burn.Rate > 501 {
		t.Errorf("the condition is %+v", c)
	}
	until(t, "the metrics show it", func() bool {
		n, err := testutil.GatherAndCount(reg, "headroom_slo_error_budget_remaining")
		return err == nil && n > 0
	})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "headroom_slo_error_budget_remaining" {
			if v := f.GetMetric()[0].GetGauge().GetValue(); v > -498 || v < -500 {
				t.Errorf("budget remaining is %v, want about -499", v)
			}
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestMetricsAreBounded(t *testing.T) {
	s := &Snapshot{At: time.Now()}
	for i := range 100 {
		st := Status{SLO: "pay", Tenant: "t" + tenantNumber(i), State: StateOK, ErrorBudgetRemaining: float64(i) / 100}
		if i == 50 {
			st.State = StatePage
		}
		s.Statuses = append(s.Statuses, st)
	}
	e := &Engine{o: EngineOptions{MaxTenants: 3}}
	var got []string
	for _, st := range e.shown(s) {
		got = append(got, string(st.Tenant))
	}
	if want := "t50 t00 t01"; strings.Join(got, " ") != want {
		t.Errorf("shown are %v, want %s", got, want)
	}
}

func tenantNumber(i int) tenant.ID { return tenant.ID([]byte{byte('0' + i/10), byte('0' + i%10)}) }
