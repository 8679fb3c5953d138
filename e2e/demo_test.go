package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

const (
	demoPageWithin  = time.Minute
	demoAlertWithin = 5 * time.Minute // fired and resolved
	demoTenants     = 40
)

// TestDemo is what somebody sees who tries headroom: a page with data within a minute, then an alert that fires and
// resolves within five.
func TestDemo(t *testing.T) {
	t.Parallel()
	began := time.Now()
	h := start(t, harness.Options{Command: "demo", Within: demoPageWithin})
	reader := signIn(t, h)
	var page string
	eventually(t, demoPageWithin-time.Since(began), "the first page has data", func() error {
		list, err := tenantList(t, h, url.Values{"limit": {"100"}})
		if err != nil {
			return err
		}
		tagged := 0
		for _, one := range list {
			if one.Tenant != "" && one.Requests > 0 {
				tagged++
			}
		}
		if tagged < demoTenants {
			return fmt.Errorf("%d tenants", tagged)
		}
		page = read(t, reader, h.Console+"/tenants")
		if n := strings.Count(page, `<th scope="row"`); n == 0 {
			return fmt.Errorf("the tenants page has no row")
		}
		return nil
	})
	t.Logf("ready after %v, a page with data after %v", h.Ready.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	eventually(t, demoPageWithin, "the status page shows the company", func() error {
		var summary v2Summary
		readJSON(t, h.Status+"/api/v2/summary.json", &summary)
		if len(summary.Components) < 4 {
			return fmt.Errorf("%d components", len(summary.Components))
		}
		return nil
	})

	var fired time.Duration
	eventually(t, demoAlertWithin-time.Since(began), "an alert fires and resolves", func() error {
		var out struct {
			Alerts []struct{ ID, Severity, State, Sentence string }
		}
		if err := h.API().JSON(t.Context(), http.MethodGet, "/alerts", nil, &out); err != nil {
			return err
		}
		state := "no page yet"
		for _, a := range out.Alerts {
			if a.Severity != "page" {
				continue
			}
			if state = a.Sentence; fired == 0 {
				fired = time.Since(began)
			}
			if a.State == "resolved" {
				t.Logf("an alert fired after %v and was over after %v: %s", fired.Round(time.Second), time.Since(began).Round(time.Second), a.Sentence)
				if page := read(t, reader, h.Console+"/alerts"); !strings.Contains(page, a.ID) {
					t.Errorf("the alerts page does not show %s", a.ID)
				}
				return nil
			}
		}
		return fmt.Errorf("%s", state)
	})
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}

// signIn returns a reader of the console.
func signIn(t *testing.T, h *harness.Headroom) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	res, err := c.PostForm(h.Console+"/sign-in", url.Values{"key": {h.AdminKey}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.Request.URL.Path == "/sign-in" {
		t.Fatalf("signing in with the admin key: %s", res.Status)
	}
	return c
}

func read(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
	return string(b)
}
