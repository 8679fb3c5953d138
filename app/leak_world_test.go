package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// The tenants of the hunt. Everything that is of one has its word in it: ids, names, services, routes, products, keys,
// addresses. nobodyq is nobody's: what is not there looks like that.
const (
	mine    = "acmeaq"
	theirs  = "zebrax"
	nobodys = "nobody"
)

// walls are which of the two stand.
type walls struct{ first, second bool }

// world is headroom with two tenants, served as it is in production but for the walls that a hunt takes away.
type world struct {
	t     *testing.T
	app   *app
	pages []string
	pg    *testenv.Postgres
	ch    *testenv.ClickHouse
	owner string // the operator's key
}

// callerHeader tells who calls, to identifyByHeader.
const callerHeader = "X-Test-Caller"

func newWorld(t *testing.T, w walls) *world {
	t.Helper()
	v := &world{t: t, ch: testenv.NewClickHouse(t), pg: testenv.NewPostgres(t)}
	o := Options{Version: "test", Data: t.TempDir(), ClickHouse: v.ch.DSN, Postgres: v.pg.DSN, Embedded: true, Name: "Quillstone",
		Roles: []Role{RoleConsole, RoleStatusPage}, Out: io.Discard, Logger: slog.New(slog.DiscardHandler)}
	for _, addr := range []*string{&o.ListenHTTP, &o.ListenStatus, &o.ListenOTLPHTTP, &o.ListenOTLPGRPC, &o.ListenInternal} {
		*addr = "127.0.0.1:0"
	}
	if !w.second {
		u, _ := url.Parse(o.Postgres)
		q := u.Query()
		q.Set("headroom.crossing", "on")
		u.RawQuery = q.Encode()
		o.Postgres = u.String()
	}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	v.app = &app{Options: o, life: newLifecycle(o.Logger), reg: prometheus.NewRegistry(), health: &health{}}
	v.app.hooks = hooks{identify: identifyByHeader}
	if !w.first {
		v.app.hooks.behindConfine = asOperator
	}
	if !w.second {
		v.app.hooks.confine = func(next http.Handler) http.Handler { return next }
		v.app.hooks.openClickHouse = clickhouse.OpenOwner
	}
	if err := v.app.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.app.life.stop(); err != nil {
			t.Error(err)
		}
	})
	key, err := os.ReadFile(filepath.Join(o.Data, "admin-key"))
	if err != nil {
		t.Fatal(err)
	}
	v.owner, v.pages = strings.TrimSpace(string(key)), v.app.console.Pages()
	v.plant()
	return v
}

// identifyByHeader stands after the real check of keys and sessions: tests say with a header who a person is.
func identifyByHeader(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get(callerHeader); h != "" {
			var who tenant.Identity
			if err := json.Unmarshal([]byte(h), &who); err != nil {
				panic("BUG: " + err.Error())
			}
			r = r.WithContext(tenant.WithIdentity(r.Context(), who))
		}
		next.ServeHTTP(w, r)
	})
}

// asOperator takes the first wall away: from here on the caller may do everything, as far as handlers can tell.
func asOperator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who, ok := tenant.IdentityFrom(r.Context()); ok {
			r = r.WithContext(tenant.WithIdentity(r.Context(), tenant.Identity{KeyID: who.KeyID, Name: who.Name, Scopes: []tenant.Scope{tenant.ScopeAdmin}}))
		}
		next.ServeHTTP(w, r)
	})
}

// plant gives both tenants one of everything.
func (v *world) plant() {
	v.t.Helper()
	slos := ""
	for _, id := range []string{mine, theirs} {
		slos += fmt.Sprintf(`---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: %[1]s-slo
  displayName: %[1]s answers
  annotations: {headroom/targetsByTenant: "{%[1]s: 99.5}"}
spec:
  service: x
  description: of %[1]s
  indicator:
    metadata: {name: %[1]s-indicator}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: %[1]s-product}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: all, targetPercent: 99}]
`, id)
	}
	v.must(http.MethodPut, "/api/v1/slos", slos, "application/yaml")
	for _, id := range []string{mine, theirs} {
		v.must(http.MethodPut, "/api/v1/tenants/"+id, `{"name":"`+id+` Limited","plan":"enterprise"}`, "application/json")
		v.must(http.MethodPost, "/api/v1/keys", `{"name":"`+id+` machine","scopes":["ingest:write","query:read"],"tenant":"`+id+`"}`, "application/json")
		if err := tenant.NewMembers(v.app.schemas).Put(v.t.Context(), tenant.Identity{Name: "test", Scopes: []tenant.Scope{tenant.ScopeAdmin}}, tenant.ID(id), tenant.Member{Email: "ada@" + id + ".example", Name: "Ada of " + id, Role: "owner"}); err != nil {
			v.t.Fatal(err)
		}
		for _, sql := range []string{
			`INSERT INTO requests SELECT now64(9) - INTERVAL number SECOND, '{}-product', '{}', '{}-service', '/{}-route', 'GET', '{}-version', 500, 1, 1000000 FROM numbers(60)`,
			`INSERT INTO trace_spans (ts, product, tenant, service, version, name, kind, route, status, error, exception)
				VALUES (now64(9), '{}-product', '{}', '{}-service', '{}-version', '{}-span', 2, '/{}-route', 500, 1, '{}-exception')`,
			`INSERT INTO ingest_1m (tenant, minute, spans, sampled_spans, refused_spans, bytes) VALUES ('{}', now(), 1000, 10, 10, 4711)`,
			`INSERT INTO load_1m (system, instance, tenant, service, product, minute, calls) VALUES ('postgresql', '{}-db', '{}', '{}-service', '{}-product', now(), 1)`,
		} {
			if err := v.ch.Owner.Exec(v.t.Context(), strings.ReplaceAll(sql, "{}", id)); err != nil {
				v.t.Fatal(err)
			}
		}
		for _, sql := range []string{
			`INSERT INTO control.alerts (id, rule, severity, title, product, bad_is, state, started_at, opened_at, observed_at, version, urgent_version, notified_at)
				VALUES ('a-{}', '{}-slo', 'page', '{} answers', '{}-product', 'failed', 'firing', now(), now(), now(), 1, 1, now())`,
			`INSERT INTO control.alert_tenants (alert_id, tenant, state, started_at, burn, peak_rate, budget_before)
				SELECT a, '{}', 'firing', now(), '{}'::jsonb, 1, 1 FROM unnest(ARRAY['a-{}']) a`,
		} {
			sql = strings.Replace(sql, "'{}'::jsonb", "'{ }'::jsonb", 1)
			if _, err := v.pg.Owner.Exec(v.t.Context(), strings.ReplaceAll(sql, "{}", id)); err != nil {
				v.t.Fatalf("%s: %v", sql, err)
			}
		}
	}
}

// answer is what came back: status, headers and body as one text, without times and what is random.
type answer struct {
	status int
	text   string
	body   []byte
}

func (v *world) do(method, path, body, contentType, caller string) answer {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.app.listeners.http.url()+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if strings.HasPrefix(caller, "hr_") {
		req.Header.Set("Authorization", "Bearer "+caller)
	} else {
		req.Header.Set(callerHeader, caller)
	}
	res, err := client.Do(req)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	var text bytes.Buffer
	res.Header.Del("Date")
	res.Header.Del("Content-Length")
	fmt.Fprintf(&text, "%d\n", res.StatusCode)
	_ = res.Header.Write(&text)
	text.Write(b)
	return answer{res.StatusCode, changing.ReplaceAllString(text.String(), "…"), b}
}

// client follows nothing: where one is sent is an answer.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (v *world) must(method, path, body, contentType string) {
	v.t.Helper()
	if a := v.do(method, path, body, contentType, v.owner); a.status/100 != 2 {
		v.t.Fatalf("%s %s: got %s", method, path, a.text)
	}
}

// sum is a checksum of all rows of both databases that are the other tenant's, whatever table they are in.
func (v *world) sum() map[string]string {
	v.t.Helper()
	sums := map[string]string{}
	ctx := context.Background()
	rows, err := v.pg.Owner.Query(ctx, `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND (n.nspname IN ('control') OR n.nspname LIKE 't\_%') AND c.relname <> 'audit_log'`)
	if err != nil {
		v.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		v.t.Fatal(err)
	}
	for _, table := range tables {
		var sum string
		where := "t::text ILIKE '%" + theirs + "%' AND NOT t::text ILIKE '%" + mine + "%'"
		if strings.HasPrefix(table, "t_") {
			where = fmt.Sprint(strings.Contains(table, theirs))
		}
		if err := v.pg.Owner.QueryRow(ctx, `SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM `+table+` t WHERE `+where).Scan(&sum); err != nil {
			v.t.Fatalf("%s: %v", table, err)
		}
		if !strings.HasPrefix(sum, "0 ") {
			sums[table] = sum
		}
	}
	for _, table := range []string{"requests", "trace_spans", "latency_1m", "latency_1h", "ingest_1m", "sli_1m"} {
		var n, hash uint64
		if err := v.ch.Owner.QueryRow(ctx, "SELECT count(), groupBitXor(cityHash64(*)) FROM (SELECT * FROM "+table+" WHERE tenant = '"+theirs+"')").Scan(&n, &hash); err != nil {
			v.t.Fatalf("%s: %v", table, err)
		}
		sums[table] = fmt.Sprint(n)
		_ = hash // merging rearranges rows of rollups
	}
	return sums
}
