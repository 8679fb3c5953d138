package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// TestUsageByDays counts a day from ClickHouse, closes it, finds nothing to do again, and revises it for what comes late.
func TestUsageByDays(t *testing.T) {
	t.Parallel()
	pg, ch := testenv.NewPostgres(t), testenv.NewClickHouse(t)
	log := slog.New(slog.DiscardHandler)
	u := tenant.NewUsage(pg.Pool, ch.Conn, log)
	now := time.Now().UTC()
	today := now.Truncate(24 * time.Hour)
	yesterday := today.AddDate(0, 0, -1)
	ingest := func(id string, at time.Time, spans, sampled int) {
		t.Helper()
		if err := ch.Owner.Exec(t.Context(), `INSERT INTO ingest_1m (tenant, minute, spans, sampled_spans, bytes, stored_bytes, points)
			VALUES (?, ?, ?, ?, ?, ?, 5)`, id, at, spans, sampled, spans*100, (spans-sampled)*100); err != nil {
			t.Fatal(err)
		}
		if err := ch.Owner.Exec(t.Context(), `INSERT INTO latency_1h (product, tenant, service, route, hour, requests) VALUES ('p', ?, 's', 'r', ?, ?)`,
			id, at.Truncate(time.Hour), spans/2); err != nil {
			t.Fatal(err)
		}
	}
	evil := `=HYPERLINK("http://x","y"),z`
	ingest("acme", yesterday, 10, 4)                     // its first minute
	ingest("acme", today.Add(-time.Minute), 20, 0)       // its last
	ingest("acme", yesterday.Add(-time.Minute), 1000, 0) // the day before
	ingest("acme", today, 7777, 0)                       // the day that goes on
	ingest(evil, yesterday.Add(time.Hour), 2, 0)
	ingest("", yesterday.Add(time.Hour), 4, 0)
	after := today.Add(2 * time.Hour)
	closes := func(at time.Time, want int64) {
		t.Helper()
		n, err := u.Close(t.Context(), at)
		if err != nil || n != want {
			t.Errorf("closed %d rows, want %d: %v", n, want, err)
		}
	}
	closes(today.Add(30*time.Minute), 1) // yesterday may still come in
	closes(after, 3)
	closes(after, 0)

	keys := tenant.NewKeys(pg.Pool)
	key := func(bound tenant.ID) string {
		t.Helper()
		_, text, err := keys.Create(t.Context(), "owner", tenant.NewKey{Name: "billing", Scopes: []tenant.Scope{tenant.ScopeQuery}, Tenant: bound})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	r := chi.NewRouter()
	r.Use(web.NewAuth(web.AuthOptions{Keys: keys, Pool: pg.Pool}).Middleware)
	web.RegisterUsageAPI(web.NewAPI(r, "test", log), u)
	get := func(key, path string, status int) string {
		t.Helper()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/usage/days"+path, nil)
		req.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != status {
			t.Errorf("%s: %d, want %d: %s", path, w.Code, status, w.Body)
		}
		return w.Body.String()
	}
	operator, day := key(""), yesterday.Format(time.DateOnly)
	file := get(operator, ".csv?first="+day+"&last="+day, http.StatusOK)
	rows := strings.Split(strings.TrimSpace(file), "\n")
	if len(rows) != 4 || !strings.HasPrefix(rows[0], "day,tenant,requests,spans,sampled_spans,refused_spans,points,") ||
		!strings.HasPrefix(rows[1], day+",,2,4,0,0,5,0,400,400,0,1,") ||
		!strings.HasPrefix(rows[2], day+`,"'=HYPERLINK(""http://x"",""y""),z",1,2,`) ||
		!strings.HasPrefix(rows[3], day+",acme,15,30,4,0,10,0,3000,2600,0,1,") {
		t.Errorf("file:\n%s", file)
	}
	if got := get(operator, "?limit=2&first="+day+"&last="+day, http.StatusOK); strings.Count(got, `"tenant"`) != 2 || !strings.Contains(got, `"complete":false`) {
		t.Errorf("a page: %s", got)
	}
	get(operator, "?first=2026-13-01", http.StatusUnprocessableEntity)
	get(operator, "?first=2026-01-02&last=2026-01-01", http.StatusBadRequest)

	bound := key("acme")
	get(bound, "?tenant=other", http.StatusNotFound)
	get(bound, ".csv?tenant=other", http.StatusNotFound)
	get(bound, "", http.StatusForbidden)
	if got := get(bound, "?tenant=acme", http.StatusOK); strings.Count(got, `"tenant":"acme"`) != 2 || strings.Count(got, `"tenant"`) != 2 {
		t.Errorf("what acme sees: %s", got)
	}

	ingest("acme", yesterday.Add(5*time.Hour), 2, 0) // late
	closes(after, 1)
	closes(after, 0)
	if got := get(operator, "?tenant=acme&first="+day+"&last="+day, http.StatusOK); !strings.Contains(got, `"spans":32,`) || !strings.Contains(got, `"revision":2,`) {
		t.Errorf("revised: %s", got)
	}
}
