package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// browse runs a script of e2e/browser with in and reads its answer into out.
func browse(t *testing.T, script string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("browser", script))
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(body), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: run `make e2e`, which installs what it needs\n%s", script, err, &stderr)
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		t.Fatalf("%s: cannot read its answer %q: %v", script, &stdout, err)
	}
}

type consoleRow struct {
	Name          string
	Cells, Titles []string
}

// consoleInChromium reads the console while the stricken tenant's alert is open.
func consoleInChromium(t *testing.T, w *world) {
	var out struct {
		Problems, Heads []string
		Rows            []consoleRow
		First, Second   struct {
			Sort  string
			Names []string
		}
		Title         string
		Charts, SLOs  []string
		Message       string
		WithoutScript []string

		Audit, AuditWithoutScript []string
	}
	before, err := tenantList(t, w.Headroom, lastHour())
	if err != nil {
		t.Fatal(err)
	}
	browse(t, "console.mjs", map[string]string{
		"site": w.Console, "key": w.AdminKey, "product": catalogProduct, "tenant": known1, "alert": shopTitle, "stricken": stricken,
	}, &out)
	for _, p := range out.Problems {
		t.Error(p)
	}
	// The tenants and their numbers are the API's.
	if len(out.Rows) != len(before) {
		t.Errorf("the tenants page has %d rows, the API %d", len(out.Rows), len(before))
	}
	for _, want := range before {
		i := slices.IndexFunc(out.Rows, func(r consoleRow) bool { return r.Name == want.Tenant })
		if i < 0 {
			t.Errorf("the tenants page does not show %q", want.Tenant)
			continue
		}
		wantRow(t, out.Heads, out.Rows[i], want)
	}
	if !slices.Contains([]string{"ascending", "descending"}, out.First.Sort) || out.Second.Sort == out.First.Sort {
		t.Errorf("sorting by P95: %q, then %q", out.First.Sort, out.Second.Sort)
	}
	turned := slices.Clone(out.Second.Names)
	slices.Reverse(turned)
	if !slices.Equal(out.First.Names, turned) {
		t.Errorf("sorting by P95: %q, then %q", out.First.Names, out.Second.Names)
	}
	if !strings.Contains(out.Title, known1) {
		t.Errorf("the tenant's page is headed %q", out.Title)
	}
	if !slices.ContainsFunc(out.Charts, func(s string) bool { return strings.HasPrefix(s, "Latency over the last hour: P50") }) {
		t.Errorf("the tenant's page has no chart of its latency: %q", out.Charts)
	}
	if !slices.ContainsFunc(out.SLOs, func(s string) bool { return strings.Contains(s, catalogTitle) }) {
		t.Errorf("the tenant's page does not show its SLO: %q", out.SLOs)
	}
	if !strings.Contains(out.Message, stricken) || !strings.Contains(out.Message, shopTitle) {
		t.Errorf("the alerts page does not show the message: %q", out.Message)
	}
	for how, entries := range map[string][]string{"": out.Audit, " without script": out.AuditWithoutScript} {
		if !slices.ContainsFunc(entries, func(s string) bool { return strings.Contains(s, "key.create") }) ||
			slices.ContainsFunc(entries, func(s string) bool { return !strings.Contains(s, "key.") }) {
			t.Errorf("the audit log%s, searched for what was done to keys: %q", how, entries)
		}
	}
	if len(out.WithoutScript) != len(before) {
		t.Errorf("without script the tenants page has %d rows, want %d", len(out.WithoutScript), len(before))
	}
}

// lastHour is what the tenants page shows.
func lastHour() url.Values {
	to := time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
	return url.Values{"product": {catalogProduct}, "from": {to.Add(-time.Hour).Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
}

// wantRow compares a row of the page with the API's, as far as the page's digits go.
func wantRow(t *testing.T, heads []string, row consoleRow, want tenantRow) {
	t.Helper()
	if i := slices.IndexFunc(row.Titles, func(s string) bool { return strings.Contains(s, "requests in") }); i < 0 {
		t.Errorf("%q: no cell tells its requests: %q", row.Name, row.Titles)
	} else if got := strings.Fields(strings.ReplaceAll(row.Titles[i], ",", ""))[0]; got != strconv.FormatUint(want.Requests, 10) {
		t.Errorf("%q: %s requests, the API says %d", row.Name, got, want.Requests)
	}
	for head, ms := range map[string]float64{"P50": want.P50, "P95": want.P95, "P99": want.P99} {
		i := slices.Index(heads, head)
		if i < 0 {
			t.Errorf("the tenants page has no column %s: %q", head, heads)
			continue
		}
		got, err := shownMillis(row.Cells[i])
		if err != nil || got < ms*0.94 || got > ms*1.06 {
			t.Errorf("%q: %s is %q on the page, %.3f ms in the API (%v)", row.Name, head, row.Cells[i], ms, err)
		}
	}
}

var shownDuration = regexp.MustCompile(`^([\d,.]+)[\s\x{202f}]*(µs|ms|s)$`)

// shownMillis reads a duration as the pages write it: "1.46 s".
func shownMillis(s string) (float64, error) {
	m := shownDuration.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
	return v * map[string]float64{"µs": 0.001, "ms": 1, "s": 1000}[m[2]], err
}

type publicPage struct {
	Path string   `json:"path"`
	Says []string `json:"says"`
}

// publicPagesInChromium reads public pages in all sizes and themes, and weighs them.
func publicPagesInChromium(t *testing.T, site string, pages []publicPage) {
	t.Helper()
	var out struct {
		Problems []string
		Looked   int
	}
	browse(t, "public.mjs", map[string]any{"site": site, "pages": pages}, &out)
	for _, p := range out.Problems {
		t.Error(p)
	}
	if want := 5 * len(pages); out.Looked != want {
		t.Errorf("looked at %d pages, want %d", out.Looked, want)
	}
	for _, p := range pages {
		wantLight(t, site, p.Path)
	}
}

// maxPublicPage is what HTML and style of a public page may weigh on the wire, in bytes.
const maxPublicPage = 30 << 10

var stylesheet = regexp.MustCompile(`<link[^>]+rel="?stylesheet"?[^>]*>`)
var address = regexp.MustCompile(`href="([^"]+)"`)

func wantLight(t *testing.T, site, path string) {
	t.Helper()
	page, size := weigh(t, site+path)
	for _, link := range stylesheet.FindAllString(page, -1) {
		if m := address.FindStringSubmatch(link); m != nil {
			_, n := weigh(t, site+m[1])
			size += n
		}
	}
	t.Logf("%s: %d bytes of HTML and style", path, size)
	if size > maxPublicPage {
		t.Errorf("%s: HTML and style are %d bytes compressed, at most %d", path, size, maxPublicPage)
	}
	if strings.Contains(page, "<script") {
		t.Errorf("%s: has a script", path)
	}
}

// weigh returns a document and how many bytes it takes on the wire, compressed as browsers ask for it.
func weigh(t *testing.T, url string) (string, int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	a, err := harness.Do(req)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %d %v", url, a.Status, err)
	}
	if a.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%s: is not compressed for those who take gzip", url)
		return string(a.Body), len(a.Body)
	}
	return gunzip(t, a.Body), len(a.Body)
}
