package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

const (
	shopComponent = "checkout"
	incidentName  = "Some checkouts are failing"
	entryTitle    = "Orders can be exported"
)

// statusPage writes what an operator writes through the API and reads it as customers and their programs do.
func statusPage(t *testing.T, w *world) {
	api := w.API()
	call := func(method, path string, in map[string]any, out any) {
		t.Helper()
		if err := api.JSON(t.Context(), method, path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	call(http.MethodPut, "/components/"+shopComponent, map[string]any{"name": "Checkout", "group": "Shop", "product": shopProduct,
		"slos": []string{shopSLO}, "manual_status": nil}, nil)
	var incident struct{ ID string }
	call(http.MethodPost, "/incidents", map[string]any{"name": incidentName, "status": "investigating", "body": "About 7 in 100 fail. **Trying again is safe.**",
		"components": []map[string]any{{"component": shopComponent, "status": "degraded_performance"}}}, &incident)
	wantPublished(t, w, incident.ID, "About 7 in 100 fail.", "degraded_performance")
	var summary v2Summary
	readJSON(t, w.Status+"/api/v2/summary.json", &summary)
	if len(summary.Incidents) != 1 || summary.Incidents[0].ID != incident.ID || summary.Incidents[0].Status != "investigating" {
		t.Errorf("the summary's incidents are %+v", summary.Incidents)
	}
	if summary.Page.Name != "Acme" || summary.Status.Indicator == "none" {
		t.Errorf("the summary's page is %+v, its status %+v", summary.Page, summary.Status)
	}

	call(http.MethodPost, "/changelog", map[string]any{"title": entryTitle, "type": "added", "version": "2.114.0", "body": "As CSV, by *Export*."}, nil)
	for path, want := range map[string]string{"/changelog": entryTitle, "/changelog.atom": entryTitle, "/changelog.rss": entryTitle, "/changelog.json": entryTitle} {
		wantPage(t, w.Status+path, want)
	}
	publicPagesInChromium(t, w.Status, []publicPage{
		{"/", []string{incidentName, "Checkout", "Acme"}},
		{"/history", []string{incidentName}},
		{"/incidents/" + incident.ID, []string{incidentName, "Trying again is safe.", "Checkout"}},
		{"/changelog", []string{entryTitle, "2.114.0"}},
	})

	call(http.MethodPost, "/incidents/"+incident.ID+"/updates", map[string]any{"status": "resolved", "body": "Everything answers again."}, nil)
	wantPublished(t, w, incident.ID, "Everything answers again.", "operational")
	readJSON(t, w.Status+"/api/v2/summary.json", &summary)
	if len(summary.Incidents) != 0 || summary.Status.Indicator != "none" {
		t.Errorf("after the incident the summary has %+v, %+v", summary.Incidents, summary.Status)
	}
}

type v2Summary struct {
	Page       struct{ Name string }
	Status     struct{ Indicator string }
	Components []struct{ ID, Name, Status string }
	Incidents  []struct{ ID, Name, Status string }
}

// wantPublished checks that an update is on the page of the incident and in every feed, and that the component's state
// follows. Operators see their text within seconds.
func wantPublished(t *testing.T, w *world, id, body, status string) {
	t.Helper()
	wantPage(t, w.Status+"/incidents/"+id, incidentName, body)
	wantPage(t, w.Status+"/", incidentName)
	// Feeds are read by programs: they must parse, not just hold the words.
	for path, read := range map[string]func([]byte) ([]string, error){
		"/feed.atom": func(b []byte) (titles []string, err error) {
			var feed struct {
				Entries []struct {
					Title   string `xml:"title"`
					Content string `xml:"content"`
					Summary string `xml:"summary"`
				} `xml:"entry"`
			}
			err = xml.Unmarshal(b, &feed)
			for _, e := range feed.Entries {
				titles = append(titles, e.Title+e.Content+e.Summary)
			}
			return titles, err
		},
		"/feed.rss": func(b []byte) (titles []string, err error) {
			var feed struct {
				Items []struct {
					Title       string `xml:"title"`
					Description string `xml:"description"`
					Content     string `xml:"encoded"`
				} `xml:"channel>item"`
			}
			err = xml.Unmarshal(b, &feed)
			for _, e := range feed.Items {
				titles = append(titles, e.Title+e.Description+e.Content)
			}
			return titles, err
		},
		"/feed.json": func(b []byte) (titles []string, err error) {
			var feed struct {
				Items []struct {
					Title string `json:"title"`
					HTML  string `json:"content_html"`
					Text  string `json:"content_text"`
				} `json:"items"`
			}
			err = json.Unmarshal(b, &feed)
			for _, e := range feed.Items {
				titles = append(titles, e.Title+e.HTML+e.Text)
			}
			return titles, err
		},
	} {
		eventually(t, 10*time.Second, path+" has the update", func() error {
			a, err := harness.Get(t.Context(), w.Status+path)
			if err != nil {
				return err
			}
			titles, err := read(a.Body)
			if err != nil {
				t.Fatalf("%s: cannot be read: %v\n%s", path, err, a.Body)
			}
			for _, title := range titles {
				if strings.Contains(title, incidentName) && strings.Contains(title, body) {
					return nil
				}
			}
			return fmt.Errorf("its entries are %q", titles)
		})
	}
	wantComponent(t, w, status)
}

// wantComponent waits until the shop's component is in a state.
func wantComponent(t *testing.T, w *world, status string) {
	t.Helper()
	eventually(t, 30*time.Second, "the component is "+status, func() error {
		var summary v2Summary
		readJSON(t, w.Status+"/api/v2/summary.json", &summary)
		for _, c := range summary.Components {
			if c.Name == "Checkout" {
				if c.Status != status {
					return fmt.Errorf("it is %s", c.Status)
				}
				return nil
			}
		}
		return fmt.Errorf("the summary's components are %+v", summary.Components)
	})
}

// wantPage waits until a public page holds all texts.
func wantPage(t *testing.T, url string, texts ...string) {
	t.Helper()
	eventually(t, 10*time.Second, url+" is published", func() error {
		a, err := harness.Get(t.Context(), url)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if a.Status != http.StatusOK || !strings.Contains(string(a.Body), text) {
				return fmt.Errorf("it does not hold %q: %d", text, a.Status)
			}
		}
		return nil
	})
}

func readJSON(t *testing.T, url string, out any) {
	t.Helper()
	a, err := harness.Get(t.Context(), url)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %d %v", url, a.Status, err)
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}
