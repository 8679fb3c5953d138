package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// TestAuditFindsAPartitionAlways writes entries of moments about the ends of months, in partitions that are there, that are made
// afterwards, and that nobody ever made, in sessions of several zones.
func TestAuditFindsAPartitionAlways(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	ctx := t.Context()
	moments := map[string]string{
		"2031-12-31T23:59:59.999999Z": "audit_log_2031_12", "2032-01-01T00:00:00Z": "audit_log_2032_01",
		"2032-02-29T23:59:59.999999Z": "audit_log_2032_02", "2032-03-01T00:00:00Z": "audit_log_2032_03",
		"2032-03-31T23:30:00Z": "audit_log_2032_03", "2032-04-01T00:30:00Z": "audit_log_2032_04",
		"2019-06-15T12:00:00Z": "audit_log_2019_06",
	}
	in := func(zone string, f func(tx pgx.Tx) error) {
		t.Helper()
		err := postgres.AcrossTenants(ctx, pg.Owner, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL TIME ZONE '"+zone+"'"); err != nil {
				return err
			}
			return f(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(zone string) {
		t.Helper()
		in(zone, func(tx pgx.Tx) error {
			for at := range moments {
				if _, err := tx.Exec(ctx, `INSERT INTO control.audit_log (at, actor, action) VALUES ($1::text::timestamptz, 'x', 'test.put')`, at); err != nil {
					return err
				}
			}
			return nil
		})
	}
	where := func(at string) string {
		t.Helper()
		var tables string
		err := pg.Owner.QueryRow(ctx, `
			SELECT coalesce(string_agg(DISTINCT c.relname, ','), 'nowhere') FROM control.audit_log a JOIN pg_class c ON c.oid = a.tableoid
			WHERE at = $1::text::timestamptz`, at).Scan(&tables)
		if err != nil {
			t.Fatal(err)
		}
		return tables
	}
	write("Pacific/Kiritimati") // 14 hours ahead
	for at := range moments {
		if got := where(at); got != "audit_log_default" {
			t.Errorf("%s without a partition: in %s", at, got)
		}
	}
	// One of them by hand in a session of another zone, all others by the keeper, who knows of none but by their entries.
	in("Pacific/Pago_Pago", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT control.make_audit_partition('2032-03-17')`)
		return err
	})
	if got := where("2032-02-29T23:59:59.999999Z"); got != "audit_log_default" {
		t.Errorf("the end of February is in %s", got)
	}
	if got := where("2032-03-31T23:30:00Z"); got != "audit_log_2032_03" {
		t.Errorf("the end of March is in %s", got)
	}
	k := AuditKeeper{Owner: pg.Owner, Operator: 20 * 365 * day, Logger: slog.New(slog.DiscardHandler)}
	for range 2 {
		if err := k.keep(ctx, time.Date(2031, 10, 31, 23, 59, 59, 0, time.UTC), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	write("America/St_Johns")
	for at, want := range moments {
		if got := where(at); got != want {
			t.Errorf("%s: in %s, want %s", at, got, want)
		}
	}
	var n int
	if err := pg.Owner.QueryRow(ctx, `SELECT count(*) FROM control.audit_log WHERE action = 'test.put'`).Scan(&n); err != nil || n != 2*len(moments) {
		t.Errorf("%d entries, %v; want %d", n, err, 2*len(moments))
	}
	for _, month := range []string{"2031_10", "2031_11", "2031_12", "2032_01"} { // ahead of the moment above
		var there bool
		if err := pg.Owner.QueryRow(ctx, `SELECT to_regclass('control.audit_log_'||$1) IS NOT NULL`, month).Scan(&there); err != nil || !there {
			t.Errorf("no partition of %s, %v", month, err)
		}
	}
}

// TestPartitionsAreMadeUnderWriters makes the partition of a month while many write entries of it: none fails, none is lost.
func TestPartitionsAreMadeUnderWriters(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	const writers, each = 6, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				at := time.Date(2033, time.Month(1+(w+i)%4), 28, 23, 59, 59, 0, time.UTC)
				_, err := pg.Pool.Exec(t.Context(), `INSERT INTO control.audit_log (at, actor, action) VALUES ($1, 'x', 'test.put')`, at)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	k := AuditKeeper{Owner: pg.Owner, Operator: 20 * 365 * day, Logger: slog.New(slog.DiscardHandler)}
	for range 4 {
		if err := k.makePartitions(t.Context(), time.Now(), k.Logger); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := k.makePartitions(t.Context(), time.Now(), k.Logger); err != nil {
		t.Error(err)
	}
	var all, waiting int
	err := pg.Owner.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM control.audit_log), (SELECT count(*) FROM control.audit_log_default)`).Scan(&all, &waiting)
	if err != nil || all != writers*each || waiting != 0 {
		t.Errorf("%d entries, %d of them in the default partition, %v; want %d and none", all, waiting, err, writers*each)
	}
}

// TestAuditIsOnlyAddedTo tries everything that changes history, as who serves: on the table, on its partitions, new ones too, and on the view.
func TestAuditIsOnlyAddedTo(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	ctx := t.Context()
	k := AuditKeeper{Owner: pg.Owner, Logger: slog.New(slog.DiscardHandler)}
	if err := k.makePartitions(ctx, time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), k.Logger); err != nil {
		t.Fatal(err)
	}
	rows, err := pg.Owner.Query(ctx, `SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'control.audit_log'::regclass`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 8 {
		t.Fatalf("partitions: got %v, %v", tables, err)
	}
	refused := func(sql string) {
		t.Helper()
		err := postgres.AcrossTenants(ctx, pg.Pool, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err })
		if err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: got %v, want a refusal", sql, err)
		}
	}
	for _, table := range append(tables, "control.audit_log", "control.audit_log_across") {
		refused(`UPDATE ` + table + ` SET actor = 'x'`)
		refused(`DELETE FROM ` + table)
		if !strings.HasSuffix(table, "_across") {
			refused(`TRUNCATE ` + table)
			refused(`DROP TABLE ` + table)
		}
		if table != "control.audit_log" {
			refused(`INSERT INTO ` + table + ` (at, id, actor, action) VALUES (now(), 1, 'x', 'x')`)
		}
	}
	refused(`SELECT control.make_audit_partition('2050-01-01')`)
}

// audited are the entries that the owner sees, oldest first.
func audited(t *testing.T, pg *testenv.Postgres) []AuditRecord {
	t.Helper()
	list, err := NewAuditLog(pg.Owner).SearchAcrossTenants(t.Context(), AuditFilter{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

func auditAcross(ctx context.Context, t *testing.T, pg *testenv.Postgres, e AuditEntry) {
	t.Helper()
	if err := postgres.AcrossTenants(ctx, pg.Pool, func(tx pgx.Tx) error { return Audit(ctx, tx, e) }); err != nil {
		t.Fatal(err)
	}
}

// TestAuditSaysWhoAndFromWhere writes as a key, a person, and headroom itself.
func TestAuditSaysWhoAndFromWhere(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	ctx := WithOrigin(t.Context(), Origin{Address: netip.MustParseAddr("2001:db8::7"), UserAgent: "curl/8"})
	key := WithIdentity(ctx, Identity{KeyID: 7, Name: "ci", Scopes: []Scope{ScopeAdmin}})
	person := WithIdentity(ctx, Identity{UserID: 9, Name: "ada@example.com", Role: RoleAdmin, Tenant: "acme"})
	auditAcross(key, t, pg, AuditEntry{Action: "tenant.put", Resource: "acme", Tenant: "acme", Before: Tenant{ID: "acme"}, After: nil, Actor: "not me"})
	auditAcross(person, t, pg, AuditEntry{Action: "webhook.create", Kind: "hook", Resource: "h1", After: map[string]any{"url": "x", "signed_with": Secret("s3cr3t")}})
	auditAcross(t.Context(), t, pg, AuditEntry{Action: "audit.expire"})
	auditAcross(t.Context(), t, pg, AuditEntry{Action: "alert.acknowledge", Actor: "Priya"})
	list := audited(t, pg)
	if len(list) != 4 {
		t.Fatalf("got %+v", list)
	}
	f := func(r AuditRecord, want string) {
		t.Helper()
		address := "-"
		if r.Address != nil {
			address = r.Address.String()
		}
		got := fmt.Sprintf("%s %s %s %q|%q %s %s|%s %s %s|%s→%s", r.ActorKind, r.Actor, r.ActorID, r.ActorTenant, r.Tenant, address, r.UserAgent, r.Action, r.Kind, r.Resource,
			r.Before, r.After)
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(list[0], `key ci 7 ""|"acme" 2001:db8::7 curl/8|tenant.put tenant acme|{"ID": "acme", "Name": "", "Plan": ""}→`)
	f(list[1], `user ada@example.com 9 "acme"|"acme" 2001:db8::7 curl/8|webhook.create hook h1|→{"url": "x", "signed_with": "(removed)"}`)
	f(list[2], `system headroom  ""|"" - |audit.expire audit |→`)
	f(list[3], `system Priya  ""|"" - |alert.acknowledge alert |→`)
}

// TestAuditTakesWhateverItIsGiven: nothing in an entry makes the change fail that it is about.
func TestAuditTakesWhateverItIsGiven(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	deep := any("x")
	for range 200 {
		deep = map[string]any{"a": []any{deep}}
	}
	_, text := "", NewKeyText()
	values := map[string]any{
		"nan": math.NaN(), "channel": make(chan int), "zero byte": "a\x00b", "no utf8": "a\xffb", "key": map[string]any{"k": "it is " + text + "."},
		"zero name": map[string]any{"a\x00": "\x00"}, "surrogate": json.RawMessage(`{"a":"\ud800"}`), "escaped": json.RawMessage(`{"a":"\u0000"}`),
		"huge number": json.RawMessage(`{"n":1e400000,"m":-1e-400000,"l":` + strings.Repeat("9", 200_000) + `}`), "broken": json.RawMessage(`{"a"`),
		"deep": deep, "long": strings.Repeat("é", maxAuditValue), "list": make([]int, maxAuditValue), "null": json.RawMessage(`null`),
		"long member": map[string]any{"id": "i-1", "body": strings.Repeat("lorem ", maxAuditValue)},
		"many": func() any {
			m := map[string]int{}
			for i := range 20_000 {
				m[fmt.Sprintf("k%d", i)] = i
			}
			return m
		}(),
		"words": func() any {
			l := []string{}
			for i := range 6000 {
				l = append(l, fmt.Sprintf("%x", i))
			}
			return l
		}(),
		"secrets": map[string]any{"password": "hunter2", "nested": []any{map[string]any{"Client_Secret": "hunter2"}}, "typed": Secret("hunter2")},
		"a":       strings.Repeat("a", 5000),
	}
	for name, v := range values {
		ctx := WithOrigin(WithIdentity(t.Context(), Identity{Name: strings.Repeat("n\x00", 1000)}), Origin{UserAgent: "\xff" + strings.Repeat("u", 4000)})
		auditAcross(ctx, t, pg, AuditEntry{Action: "test." + name, Resource: strings.Repeat("r\x00é", 3000), Before: v, After: v})
	}
	var n, size int
	var all string
	err := pg.Owner.QueryRow(t.Context(), `SELECT count(*), max(length(after::text)), string_agg(action || ' ' || coalesce(after::text, '-'), E'\n') FROM control.audit_log`).Scan(&n, &size, &all)
	if err != nil || n != len(values) {
		t.Fatalf("%d entries, %v; want %d", n, err, len(values))
	}
	if size > 2*maxAuditValue { // PostgreSQL writes spaces
		t.Errorf("the longest has %d bytes", size)
	}
	for _, secret := range []string{"hunter2", text, text[len(text)-20:]} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(all, `"id": "i-1"`) || !strings.Contains(all, "bytes, left out)") {
		t.Error("what is short of a long value is not there")
	}
}

// TestAuditIsKeptByPlan: entries of tenants go by their plans and overrides, the operator's by the flag, and months when nobody
// keeps anything of them.
func TestAuditIsKeptByPlan(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	ctx := t.Context()
	now := time.Now().UTC()
	_, err := pg.Owner.Exec(ctx, `
		INSERT INTO control.tenants (id, plan) VALUES ('small', 'starter'), ('large', 'enterprise'), ('agreed', 'starter'), ('was', 'starter'), ('reset', 'professional');
		DELETE FROM control.plan_settings WHERE plan = 'professional' AND key = 'audit-retention-days';
		UPDATE control.plan_settings SET value = 1000 WHERE plan = 'enterprise' AND key = 'audit-retention-days';
		INSERT INTO control.plan_overrides (tenant, key, value, reason, set_by, ends_at) VALUES
			('agreed', 'audit-retention-days', 200, 'x', 'x', NULL), ('was', 'audit-retention-days', 200, 'x', 'x', now() - interval '1 day')`)
	if err != nil {
		t.Fatal(err)
	}
	k := AuditKeeper{Owner: pg.Owner, Operator: 50 * day, Logger: slog.New(slog.DiscardHandler)}
	ages := []int{1, 49, 51, 89, 91, 199, 201, 999, 1001, 1500}
	for _, age := range ages {
		at := now.AddDate(0, 0, -age)
		if _, err := pg.Owner.Exec(ctx, `SELECT control.make_audit_partition($1::date)`, at.Format(time.DateOnly)); err != nil {
			t.Fatal(err)
		}
		_, err := pg.Owner.Exec(ctx, `INSERT INTO control.audit_log (at, actor, action, resource_id, tenant)
			SELECT $1, 'x', 'test.put', $2::text, nullif(x, '') FROM unnest(ARRAY['small', 'large', 'agreed', 'was', 'reset', 'unknown', '']) x`, at, fmt.Sprint(age))
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := k.keep(ctx, now, k.Logger); err != nil {
			t.Fatal(err)
		}
	}
	oldest := map[ID]string{}
	var expired int
	for _, r := range audited(t, pg) {
		if r.Action == "audit.expire" {
			expired++
		} else if _, seen := oldest[r.Tenant]; !seen {
			oldest[r.Tenant] = r.Resource
		}
	}
	want := map[ID]string{"small": "89", "large": "999", "agreed": "199", "was": "89", "reset": "201", "unknown": "49", "": "49"}
	for id, age := range want {
		if oldest[id] != age {
			t.Errorf("the oldest of %q is %s days old, want %s", id, oldest[id], age)
		}
	}
	if expired < 2 { // a month at least, and entries of others
		t.Errorf("%d entries say that others went, want 2 or 3", expired)
	}
	var dropped bool
	if err := pg.Owner.QueryRow(ctx, `SELECT to_regclass('control.audit_log_'||$1) IS NULL`, now.AddDate(0, 0, -1500).Format("2006_01")).Scan(&dropped); err != nil || !dropped {
		t.Errorf("the month of 1500 days ago is still there, %v", err)
	}
}

// TestAuditIsReadByPages walks through what a tenant and the operator see, with entries coming meanwhile, and through every filter.
func TestAuditIsReadByPages(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	ctx := t.Context()
	log := NewAuditLog(pg.Pool)
	office := WithOrigin(ctx, Origin{Address: netip.MustParseAddr("192.0.2.9")})
	ops := WithIdentity(office, Identity{KeyID: 1, Name: "priya-key"})
	acme := WithIdentity(WithOrigin(ctx, Origin{Address: netip.MustParseAddr("198.51.100.7")}), Identity{UserID: 5, Role: RoleAdmin, Name: "ada@acme.example", Tenant: "acme"})
	for i := range 25 {
		auditAcross(ops, t, pg, AuditEntry{Action: "tenant.put", Resource: "acme", Tenant: "acme", After: map[string]any{"name": fmt.Sprintf("Acme%d", i)}})
		auditAcross(acme, t, pg, AuditEntry{Action: "member.put", Resource: "bob@acme.example", After: map[string]any{"role": "viewer"}})
		auditAcross(ops, t, pg, AuditEntry{Action: "slo.updated", Resource: "pay", After: map[string]any{"target": 99.9, "note": "Grüße an_alle 50%"}})
		auditAcross(ops, t, pg, AuditEntry{Action: "tenant.put", Resource: "zeta", Tenant: "zeta"})
	}
	one := func(f AuditFilter) ([]AuditRecord, error) { return log.Search(ctx, "acme", f) }
	all := func(f AuditFilter) ([]AuditRecord, error) { return log.SearchAcrossTenants(ctx, f) }
	pages := func(search func(AuditFilter) ([]AuditRecord, error), want int) {
		t.Helper()
		seen := map[int64]bool{}
		last := int64(math.MaxInt64)
		f := AuditFilter{Limit: 7}
		for {
			page, err := search(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				if seen[r.ID] || r.ID > last {
					t.Errorf("entry %d comes twice or out of order", r.ID)
				}
				seen[r.ID], last = true, r.ID
			}
			if len(page) < 7 {
				break
			}
			after, err := ParseAuditCursor(page[len(page)-1].Cursor().String())
			if err != nil {
				t.Fatal(err)
			}
			f.After = after
			auditAcross(ops, t, pg, AuditEntry{Action: "tenant.get", Resource: "late", Tenant: "acme"}) // while somebody reads
		}
		if len(seen) != want {
			t.Errorf("%d entries, want %d", len(seen), want)
		}
	}
	pages(one, 50)
	late := 50 / 7
	pages(all, 100+late)
	count := func(search func(AuditFilter) ([]AuditRecord, error), f AuditFilter, want int) {
		t.Helper()
		f.Limit = 1000
		if list, err := search(f); err != nil || len(list) != want {
			t.Errorf("%+v: %d entries, %v; want %d", f, len(list), err, want)
		}
	}
	zeta, operator := ID("zeta"), Untagged
	count(all, AuditFilter{Actor: "ada@acme.example"}, 25)
	count(all, AuditFilter{Action: "slo."}, 25)
	count(all, AuditFilter{Action: "slo_"}, 0)
	count(all, AuditFilter{Kind: "member", Resource: "bob@acme.example"}, 25)
	count(all, AuditFilter{Tenant: &zeta}, 25)
	count(all, AuditFilter{Tenant: &operator}, 25)
	count(all, AuditFilter{Address: netip.MustParsePrefix("198.51.100.0/24")}, 25)
	count(all, AuditFilter{Address: netip.MustParsePrefix("198.51.100.7/32")}, 25)
	count(all, AuditFilter{Text: "GRÜSSE"}, 0)
	count(all, AuditFilter{Text: "grü ALLE 50"}, 25)
	count(all, AuditFilter{Text: "acme17"}, 1)
	count(all, AuditFilter{Text: "bob@acme.ex"}, 25)
	count(all, AuditFilter{Text: "ada viewer"}, 25)
	count(all, AuditFilter{Text: "priya acme17"}, 1)
	count(all, AuditFilter{Text: "' | & ! <-> :*"}, 0)
	count(all, AuditFilter{To: time.Now().Add(-time.Hour)}, 0)
	// A tenant sees its own, and of the operator neither name nor address, whatever it asks.
	count(one, AuditFilter{Tenant: &zeta}, 0)
	count(one, AuditFilter{Action: "slo."}, 0)
	count(one, AuditFilter{Actor: "priya-key"}, 0)
	count(one, AuditFilter{Text: "priya"}, 0)
	count(one, AuditFilter{Text: "ada"}, 25)
	count(one, AuditFilter{Text: "acme17"}, 1)
	count(one, AuditFilter{Address: netip.MustParsePrefix("192.0.2.0/24")}, 0)
	count(one, AuditFilter{Actor: "operator", Action: "tenant.put"}, 25)
	list, err := one(AuditFilter{Action: "tenant.put", Limit: 1})
	if err != nil || len(list) != 1 || list[0].Actor != "operator" || list[0].Address != nil || list[0].ActorID != "" {
		t.Errorf("the operator's change: %+v, %v", list, err)
	}
	// The second wall: without the condition, and through the view.
	err = postgres.InTenant(ctx, pg.Pool, ID("acme"), func(tx pgx.Tx) error {
		var others, across int
		if err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE tenant IS DISTINCT FROM 'acme'), (SELECT count(*) FROM control.audit_log_across) FROM control.audit_log`).
			Scan(&others, &across); err != nil || others != 0 || across != 0 {
			t.Errorf("acme sees %d entries of others, %d through the view, %v", others, across, err)
		}
		return Audit(ctx, tx, AuditEntry{Action: "test.put", Tenant: "zeta"})
	})
	if err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Errorf("acme writes an entry of zeta: %v", err)
	}
}
