package slo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// yamlSLO returns an SLO of product shop; lines are added to the metric source's spec.
func yamlSLO(name, targetPercent string, lines ...string) string {
	s := fmt.Sprintf(`---
apiVersion: openslo/v1
kind: SLO
metadata: {name: %s}
spec:
  service: shop
  objectives: [{targetPercent: %s}]
  indicator:
    spec:
      ratioMetric:
        rawType: success
        raw:
          metricSource:
            type: headroom
            spec:
              product: shop
`, name, targetPercent)
	for _, l := range lines {
		s += "              " + l + "\n"
	}
	return s
}

func TestApply(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	f := func(src string, action Action, revision uint32, restarts bool) Change {
		t.Helper()
		defs, err := Parse("", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		for _, dryRun := range []bool{true, false} {
			changes, err := e.store.Apply(ctx, "ann", defs, dryRun)
			if err != nil {
				t.Fatal(err)
			}
			c := changes.SLOs[0]
			if c.Action != action || c.Revision != revision || c.Restarts != restarts {
				t.Errorf("dryRun %v: got %s, revision %d, restarts %v, want %s, %d, %v", dryRun, c.Action, c.Revision, c.Restarts,
					action, revision, restarts)
			}
			if dryRun {
				continue
			}
			return c
		}
		panic("unreachable")
	}
	f(yamlSLO("pay", "99.9"), Created, 1, false)
	f(yamlSLO("pay", "99.9"), Unchanged, 1, false)
	c := f(yamlSLO("pay", "99.5"), Updated, 2, false)
	if want := []FieldChange{{Field: "target", Old: "99.9\u202f%", New: "99.5\u202f%"}}; fmt.Sprint(c.Fields) != fmt.Sprint(want) {
		t.Errorf("changed fields %v, want %v", c.Fields, want)
	}
	f(yamlSLO("pay", "99.5", "routes: [/b, /a]"), Updated, 3, true)
	f(yamlSLO("pay", "99.5", "routes: [/a, /b, /a]"), Unchanged, 3, false)
	f(yamlSLO("pay", "99.5", "routes: [/a, /b]", "threshold: 1s"), Updated, 4, true)

	d, err := e.store.Get(ctx, "pay")
	if err != nil {
		t.Fatal(err)
	}
	if d.Revision != 4 || d.SLIRevision != 4 || d.Threshold != time.Second || d.AppliedAt.IsZero() || d.Target != 995_000 {
		t.Errorf("stored definition is %+v", d)
	}
	history, err := e.store.History(ctx, "pay")
	if err != nil {
		t.Fatal(err)
	}
	if len(history) != 4 || history[0].Revision != 4 || history[3].Definition.Target != 999_000 || history[3].Actor != "ann" {
		t.Errorf("history is %+v", history)
	}
	if err := e.store.Delete(ctx, "bob", "pay"); err != nil {
		t.Fatal(err)
	}
	if err := e.store.Delete(ctx, "bob", "pay"); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleting twice gives %v", err)
	}
	if _, err := e.store.Get(ctx, "pay"); !fault.Is(err, fault.NotFound) {
		t.Errorf("getting what was deleted gives %v", err)
	}
	if defs, err := e.store.List(ctx); err != nil || len(defs) != 0 {
		t.Errorf("list after delete: %v, %v", defs, err)
	}
	f(yamlSLO("pay", "99.5"), Created, 6, false)
	if d, err := e.store.Get(ctx, "pay"); err != nil || d.SLIRevision != 6 {
		t.Errorf("an SLO that comes back counts on: %+v, %v", d, err)
	}

	rows, err := e.pg.Owner.Query(ctx, `SELECT actor || ' ' || action FROM control.audit_log WHERE resource_id = 'pay' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var log []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		log = append(log, s)
	}
	if got, want := strings.Join(log, ", "), "ann slo.created, ann slo.updated, ann slo.updated, ann slo.updated, "+
		"bob slo.deleted, ann slo.created"; got != want {
		t.Errorf("audit log: %s\nwant: %s", got, want)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	defs, err := Parse("", []byte(yamlSLO("one", "99.9")+yamlSLO("two", "99.9")))
	if err != nil {
		t.Fatal(err)
	}
	defs[1].Selector.Product = ""
	if _, err := e.store.Apply(t.Context(), "ann", defs, false); !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if defs, err := e.store.List(t.Context()); err != nil || len(defs) != 0 {
		t.Errorf("after a refused apply: %v, %v", defs, err)
	}
}

// A crash between PostgreSQL's commit and ClickHouse's insert, a lost ClickHouse and a PostgreSQL restored from a backup
// all heal by the next Sync.
func TestSyncHeals(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	active := func() string {
		t.Helper()
		var s string
		err := e.ch.Owner.QueryRow(ctx, `SELECT arrayStringConcat(arraySort(groupArray(slo)), ' ') FROM slo_objectives FINAL WHERE active`).Scan(&s)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	sync := func(wantBehind bool, wantActive string) {
		t.Helper()
		behind, err := e.store.Sync(ctx)
		if err != nil || behind != wantBehind {
			t.Fatalf("Sync = %v, %v, want %v", behind, err, wantBehind)
		}
		if got := active(); got != wantActive {
			t.Fatalf("active objectives %q, want %q", got, wantActive)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := e.pg.Pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	sync(false, "")
	e.apply(t, yamlSLO("one", "99.9")+yamlSLO("two", "99.9"))
	sync(false, "one two")
	exec(`UPDATE control.slos SET deleted_at = now() WHERE name = 'one'; UPDATE control.slo_generation SET generation = generation + 1`)
	sync(true, "two")
	sync(false, "two")
	if err := e.ch.Owner.Exec(ctx, `TRUNCATE TABLE slo_objectives`); err != nil {
		t.Fatal(err)
	}
	sync(true, "two")
	exec(`UPDATE control.slos SET deleted_at = now(); UPDATE control.slo_generation SET generation = 1`)
	sync(true, "")
	sync(false, "")
}
