package dashboards

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

// ingested stores what collectors took of a tenant so many minutes ago.
func (c *testConsole) ingested(ago int, tenant string, spans, sampled, refused, points, refusedPoints int) {
	c.t.Helper()
	at := time.Now().UTC().Truncate(time.Minute).Add(-time.Duration(ago) * time.Minute)
	err := c.db.Owner.Exec(c.t.Context(), fmt.Sprintf("INSERT INTO ingest_1m (tenant, minute, spans, sampled_spans, refused_spans, bytes, points, refused_points) VALUES ('%s', '%s', %d, %d, %d, %d, %d, %d)",
		tenant, at.Format(time.DateTime), spans, sampled, refused, 100*spans, points, refusedPoints))
	if err != nil {
		c.t.Fatal(err)
	}
}

// Who is over its quota now is marked in the list and has a tab; a tenant's page says what is missing of what.
func TestTenantsOverTheirQuota(t *testing.T) {
	c := newTestConsole(t)
	c.seed()
	c.ingested(1, "slow", 4000, 3520, 0, 0, 0)
	c.ingested(0, "slow", 4000, 3520, 0, 0, 0)
	c.ingested(1, "failing", 3592, 500, 338, 0, 0)
	c.ingested(30, "well", 100, 50, 0, 900, 7) // long ago
	c.ingested(1, "well", 900, 0, 0, 900, 0)
	c.ingested(2, "meters", 0, 0, 0, 900, 1200)

	doc := c.page("/tenants")
	for _, tr := range all(doc, tag("tr")) {
		row := text(tr)
		for name, want := range map[string]string{"slow": "slow sampled to 12 %", "failing": "failing 8.6 % refused", "meters": "meters metrics refused"} {
			if attr(tr, "data-href") == "/tenants/"+name && !strings.Contains(row, want) {
				t.Errorf("row %q, want %q", row, want)
			}
		}
		if attr(tr, "data-href") == "/tenants/well" && (strings.Contains(row, "sampled") || strings.Contains(row, "refused")) {
			t.Errorf("row %q of who is no longer over its quota", row)
		}
	}
	if body := text(doc); !strings.Contains(body, "Over quota 3") {
		t.Errorf("no tab in %q", body)
	}
	if got := rowNames(c.page("/tenants?show=quota&sort=tenant")); !slices.Equal(got, []string{"failing", "meters", "slow"}) {
		t.Errorf("over their quota: %q", got)
	}

	says := func(id string, want ...string) {
		t.Helper()
		body := text(c.page("/tenants/" + id))
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: no %q in %q", id, w, body)
			}
		}
	}
	says("slow", "Over its quota: 12 % of its spans were stored in the last hour, 960 of 8,000.", "percentiles, budgets and alerts are exact", "A larger plan, or --quota , allows more.")
	says("failing", "8.6 % of its spans were refused in the last hour, 338 of 3,930.", "not counted, so the numbers here are too low", "Of the others 3,092 of 3,592 are stored.")
	says("well", "Over its quota until ", "95 % of its spans were stored in the last hour, 950 of 1,000.", "7 points of its metrics were refused.")
	says("meters", "1,200 points of its metrics were refused in the last hour.", "Requests and spans are complete.")
	if body := text(c.page("/untagged")); strings.Contains(body, "quota") {
		t.Errorf("untagged: %q", body)
	}
}

func TestPartIsWholeOnlyOfTheWhole(t *testing.T) {
	for want, of := range map[string][2]uint64{"100 %": {7, 7}, ">99 %": {9999, 10000}, "99 %": {99, 100}, "0 %": {0, 7}, "<0.01 %": {1, 1e6}} {
		if got := strings.ReplaceAll(part(of[0], of[1]), theme.NarrowSpace, " "); got != want {
			t.Errorf("%d of %d: %q, want %q", of[0], of[1], got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	c := newTestConsole(t)
	c.ingested(1, "a", 4000, 3520, 0, 0, 0)
	c.ingested(2, "a", 1, 0, 0, 0, 0)
	c.ingested(1, "b", 10, 0, 0, 900, 0)
	c.ingested(200, "c", 10, 0, 0, 900, 0)
	get := func(query string, status int) (tenants []string, body string) {
		t.Helper()
		w := c.do(http.MethodGet, "/api/v1/usage"+query, nil, map[string]string{"Accept": ""})
		if body = w.Body.String(); w.Code != status {
			t.Fatalf("%s: %d %s", query, w.Code, body)
		}
		var out struct{ Tenants []usageJSON }
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		for _, u := range out.Tenants {
			tenants = append(tenants, fmt.Sprintf("%s %d %d %d %d %v", u.Tenant, u.Spans, u.Sampled, u.Bytes, u.Points, u.OverUntil != nil))
		}
		return tenants, body
	}
	want := []string{"a 4001 3520 400100 0 true", "b 10 0 1000 900 false"}
	if got, body := get("", http.StatusOK); !slices.Equal(got, want) || !strings.Contains(body, `"total":2`) || !strings.Contains(body, `"over_quota_until":null`) {
		t.Errorf("got %q, want %q in %s", got, want, body)
	}
	if got, _ := get("?sort=points&limit=1", http.StatusOK); !slices.Equal(got, want[1:]) {
		t.Errorf("by points: %q", got)
	}
	if got, _ := get("?sort=tenant&order=desc&offset=1", http.StatusOK); !slices.Equal(got, want[:1]) {
		t.Errorf("by tenant: %q", got)
	}
	if got, _ := get("?over_quota=true", http.StatusOK); !slices.Equal(got, want[:1]) {
		t.Errorf("over their quota: %q", got)
	}
	if got, _ := get("?tenant=b", http.StatusOK); !slices.Equal(got, want[1:]) {
		t.Errorf("of one: %q", got)
	}
	if got, _ := get("?tenant=b&over_quota=true", http.StatusOK); len(got) != 0 {
		t.Errorf("of one that is not over its quota: %q", got)
	}
	if got, _ := get("?tenant=c", http.StatusOK); len(got) != 0 {
		t.Errorf("of one that sent nothing: %q", got)
	}
	if _, body := get("?from=2020-01-01T00:00:00Z&to=2020-01-01T01:00:00Z", http.StatusBadRequest); !strings.Contains(body, "within the last 35 days") {
		t.Errorf("too old: %s", body)
	}
}
