package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// killRounds returns how often a kill test kills: $HEADROOM_KILL_ROUNDS, 5 by default.
func killRounds(t *testing.T) int {
	t.Helper()
	s := os.Getenv("HEADROOM_KILL_ROUNDS")
	if s == "" {
		return 5
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("HEADROOM_KILL_ROUNDS: %q is not a number of rounds", s)
	}
	return n
}

// atSomeMoment returns after a random time: where in its work the victim is hit must differ.
func atSomeMoment(t *testing.T, from, to time.Duration) {
	t.Helper()
	timer := time.NewTimer(from + rand.N(to-from))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

const availabilitySLO = `apiVersion: openslo/v1
kind: SLO
metadata: {name: %s, displayName: %s}
spec:
  service: %s
  indicator:
    metadata: {name: %[1]s-answered}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: %[3]s}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: All tenants, targetPercent: %s}]
`

// applyAvailability applies an SLO that counts all requests of a product.
func applyAvailability(t *testing.T, h *harness.Headroom, name, product string) {
	t.Helper()
	src := fmt.Sprintf(availabilitySLO, name, name, product, "99")
	a, err := h.API().Do(t.Context(), http.MethodPut, "/slos", "application/yaml", []byte(src))
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("PUT /slos: %d %s %v", a.Status, a.Body, err)
	}
}

func ingestKey(t *testing.T, h *harness.Headroom) string {
	t.Helper()
	key, err := h.NewKey(t.Context(), "load", "ingest:write")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCollectorKilled kills headroom under load while its databases live on: what they had taken, what was on its way
// to them, what was in the spool only and what was never acknowledged all meet at the restart.
func TestCollectorKilled(t *testing.T) {
	t.Parallel()
	engines, err := harness.StartEngines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engines.Stop(); err != nil {
			t.Error(err)
		}
	})
	ch, err := harness.NewClickHouse(engines.ClickHouse)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, harness.Options{Args: []string{"--clickhouse", engines.ClickHouse, "--postgres", engines.Postgres}})
	killHeadroomUnderLoad(t, h, func(*harness.Headroom) harness.ClickHouse { return ch })
}

// TestAllKilled is the same with the embedded databases, which die with headroom.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	h := start(t, harness.Options{})
	killHeadroomUnderLoad(t, h, func(h *harness.Headroom) harness.ClickHouse { return embedded(t, h) })
}

func embedded(t *testing.T, h *harness.Headroom) harness.ClickHouse {
	t.Helper()
	ch, err := h.ClickHouse()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func killHeadroomUnderLoad(t *testing.T, h *harness.Headroom, database func(*harness.Headroom) harness.ClickHouse) {
	t.Helper()
	applyAvailability(t, h, "killed", "killed")
	l := startLoad(h, ingestKey(t, h), "killed")
	for round := range killRounds(t) {
		before := l.acknowledged()
		eventually(t, 20*time.Second, "spans are acknowledged", func() error {
			if l.acknowledged() == before {
				return fmt.Errorf("none since the last start")
			}
			return nil
		})
		atSomeMoment(t, 200*time.Millisecond, 2*time.Second)
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
		var err error
		if h, err = h.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		killAtEnd(t, h)
		t.Logf("round %d: ready again after %v", round+1, h.Ready.Round(time.Millisecond))
	}
	l.finish(t)
	l.wantStored(t, h, database(h), "killed")

	// Nothing that was left over comes in by another restart.
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h, err := h.Restart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killAtEnd(t, h)
	l.wantStored(t, h, database(h), "killed")
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestClickHouseKilled kills the embedded ClickHouse under load; headroom starts it again and goes on.
func TestClickHouseKilled(t *testing.T) {
	t.Parallel()
	h := start(t, harness.Options{})
	applyAvailability(t, h, "killed", "killed")
	l := startLoad(h, ingestKey(t, h), "killed")
	killEngine(t, h, "clickhouse", func() {
		acknowledged, stored := l.acknowledged(), storedRows(t, h)
		eventually(t, 10*time.Second, "spans are acknowledged without ClickHouse or soon after", func() error {
			if l.acknowledged() == acknowledged {
				return fmt.Errorf("none since the kill")
			}
			return nil
		})
		// The engine is started again ever later when it dies too often; the next kill is to hit a busy one.
		eventually(t, 45*time.Second, "spans are stored again", func() error {
			if storedRows(t, h) == stored {
				return fmt.Errorf("none since the kill")
			}
			return nil
		})
	})
	l.finish(t)
	l.wantStored(t, h, embedded(t, h), "killed")
	m, err := h.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := m["headroom_collector_duplicate_requests_total"]; n == 0 {
		t.Error("no repeated request was recognized, though clients repeated them")
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}

// storedRows returns how many rows ClickHouse took from this process.
func storedRows(t *testing.T, h *harness.Headroom) float64 {
	t.Helper()
	m, err := h.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m[`headroom_collector_inserted_rows_total{table="requests"}`]
}

// killEngine kills the engine in rounds and calls between after each, when it may still be away.
func killEngine(t *testing.T, h *harness.Headroom, name string, between func()) {
	t.Helper()
	for range killRounds(t) {
		var engine harness.Process
		eventually(t, time.Minute, name+" is killed", func() (err error) {
			if engine, err = h.Engine(name); err != nil {
				return err
			}
			atSomeMoment(t, 200*time.Millisecond, time.Second)
			// A start after a kill may fail and be tried again: what was found then has ended by itself.
			err = engine.Kill()
			if err != nil && !errors.Is(err, harness.ErrGone) {
				t.Fatal(err)
			}
			return err
		})
		eventually(t, 10*time.Second, name+" is gone", func() error {
			if engine.Alive() {
				return fmt.Errorf("%s runs", engine)
			}
			return nil
		})
		between()
	}
}

// TestPostgresKilled shows that neither spans nor the status page need PostgreSQL.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	h := start(t, harness.Options{})
	applyAvailability(t, h, "killed", "killed")
	l := startLoad(h, ingestKey(t, h), "killed")
	eventually(t, 10*time.Second, "spans are acknowledged and their key is known", func() error {
		if l.acknowledged() == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	killEngine(t, h, "postgres", func() {
		before := l.acknowledged()
		for range 5 {
			if a, err := harness.Get(t.Context(), h.Status+"/"); err != nil || a.Status != http.StatusOK {
				t.Fatalf("status page without PostgreSQL: %d %v", a.Status, err)
			}
		}
		eventually(t, 5*time.Second, "spans are acknowledged without PostgreSQL", func() error {
			if l.acknowledged() < before+10 {
				return fmt.Errorf("%d since the kill", l.acknowledged()-before)
			}
			return nil
		})
	})
	eventually(t, 20*time.Second, "what needs PostgreSQL works again", func() error {
		return h.API().JSON(t.Context(), http.MethodGet, "/keys", nil, nil)
	})
	l.finish(t)
	l.wantStored(t, h, embedded(t, h), "killed")
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}
