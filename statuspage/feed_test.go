package statuspage

import (
	"encoding/json"
	"encoding/xml"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

type atomDoc struct {
	XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
	ID      []string `xml:"id"`
	Title   []string `xml:"title"`
	Updated []string `xml:"updated"`
	Author  []struct {
		Name string `xml:"name"`
	} `xml:"author"`
	Links   []atomLinkDoc  `xml:"link"`
	Entries []atomEntryDoc `xml:"entry"`
}

type atomEntryDoc struct {
	ID        []string      `xml:"id"`
	Title     []string      `xml:"title"`
	Updated   []string      `xml:"updated"`
	Published []string      `xml:"published"`
	Links     []atomLinkDoc `xml:"link"`
	Content   struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	} `xml:"content"`
}

type atomLinkDoc struct {
	Href string `xml:"href,attr"`
	Rel  string `xml:"rel,attr"`
}

// validAtom checks what RFC 4287 demands of a feed, and what readers need beyond it.
func validAtom(t *testing.T, body string) atomDoc {
	t.Helper()
	var d atomDoc
	if err := xml.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	one := func(what string, s []string) string {
		t.Helper()
		if len(s) != 1 || s[0] == "" {
			t.Errorf("%s: %q, want exactly one", what, s)
			return ""
		}
		return s[0]
	}
	at := func(what string, s []string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339, one(what, s))
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return v
	}
	iri := func(s string) {
		t.Helper()
		if u, err := url.Parse(s); err != nil || u.Scheme == "" {
			t.Errorf("%q is no IRI: %v", s, err)
		}
	}
	iri(one("id", d.ID))
	one("title", d.Title)
	newest := at("updated", d.Updated)
	if len(d.Author) != 1 || d.Author[0].Name == "" {
		t.Errorf("author: %v", d.Author)
	}
	rels := map[string]int{}
	for _, l := range d.Links {
		iri(l.Href)
		rels[l.Rel]++
	}
	if rels["self"] != 1 || rels["alternate"] != 1 {
		t.Errorf("links: %v", d.Links)
	}
	seen, last, top := map[string]bool{}, time.Time{}, time.Time{}
	for n, e := range d.Entries {
		id := one("entry id", e.ID)
		iri(id)
		if seen[id] {
			t.Errorf("entry id %q stands twice", id)
		}
		seen[id] = true
		one("entry title", e.Title)
		published, updated := at("entry published", e.Published), at("entry updated", e.Updated)
		if updated.Before(published) {
			t.Errorf("%s was updated before it was published", id)
		}
		if n > 0 && published.After(last) {
			t.Errorf("entry %d is newer than the one before it", n)
		}
		last = published
		if updated.After(top) {
			top = updated
		}
		if len(e.Links) != 1 || e.Links[0].Rel != "alternate" {
			t.Errorf("entry links: %v", e.Links)
		}
		if strings.Contains(e.Content.Text, `href="/`) {
			t.Errorf("entry %q has a link that readers cannot follow", id)
		}
		if e.Content.Type != "html" && e.Content.Text != "" {
			t.Errorf("entry content is %q", e.Content.Type)
		}
	}
	if len(d.Entries) > 0 && !newest.Equal(top) {
		t.Errorf("the feed is of %s, its newest entry of %s", newest, top)
	}
	return d
}

func TestAtomFeeds(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	if ct := e.get(t, "/feed.atom").Header().Get("Content-Type"); ct != "application/atom+xml; charset=utf-8" {
		t.Errorf("content type %q", ct)
	}
	d := validAtom(t, e.body(t, "/feed.atom"))
	if len(d.Entries) != 3 || d.ID[0] != "tag:status.larkfield.example,2026:feed" || !strings.Contains(d.Entries[0].Content.Text, "nobody is charged twice") {
		t.Errorf("%+v", d)
	}
	if e.body(t, "/history.atom") != e.body(t, "/feed.atom") || e.body(t, "/history.rss") != e.body(t, "/feed.rss") {
		t.Error("Statuspage's names give another feed")
	}
	c := validAtom(t, e.body(t, "/changelog.atom"))
	if len(c.Entries) != 5 || c.Entries[0].Title[0] != "Carts are kept for 30 days" || strings.Contains(e.body(t, "/changelog.atom"), "<script") {
		t.Errorf("%+v", c)
	}

	// The same state gives the same bytes, whenever it is read; a change moves updated, and no id.
	before := e.body(t, "/feed.atom")
	e.refresh(t)
	if e.body(t, "/feed.atom") != before {
		t.Error("the feed changed without a change")
	}
	newest := e.View().Incidents[0]
	e.update(t, newest.ID, NewUpdate{Status: Resolved, Body: "Over."})
	e.refresh(t)
	after := validAtom(t, e.body(t, "/feed.atom"))
	i := slices.IndexFunc(d.Entries, func(x atomEntryDoc) bool { return strings.HasSuffix(x.ID[0], newest.ID) })
	if after.Entries[i].ID[0] != d.Entries[i].ID[0] || after.Updated[0] < d.Updated[0] {
		t.Errorf("after an update: id %s, updated %s; before %s, %s", after.Entries[i].ID[0], after.Updated[0], d.Entries[i].ID[0], d.Updated[0])
	}
}

func TestEmptyFeeds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.refresh(t)
	for _, f := range []string{"/feed", "/changelog"} {
		if d := validAtom(t, e.body(t, f+".atom")); d.Updated[0] != "1970-01-01T00:00:00Z" {
			t.Errorf("an empty feed is of %s", d.Updated[0])
		}
		if !strings.Contains(e.body(t, f+".json"), `"items": []`) {
			t.Errorf("an empty JSON feed has no items member: %s", e.body(t, f+".json"))
		}
	}
}

func TestRSSFeeds(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	for path, want := range map[string]int{"/feed.rss": 3, "/changelog.rss": 5} {
		if ct := e.get(t, path).Header().Get("Content-Type"); ct != "application/rss+xml; charset=utf-8" {
			t.Errorf("%s: content type %q", path, ct)
		}
		var d struct {
			XMLName xml.Name `xml:"rss"`
			Version string   `xml:"version,attr"`
			Channel struct {
				Title       string `xml:"title"`
				Description string `xml:"description"`
				Build       string `xml:"lastBuildDate"`
				Links       []struct {
					XMLName xml.Name
					Href    string `xml:"href,attr"`
					Rel     string `xml:"rel,attr"`
					Text    string `xml:",chardata"`
				} `xml:"link"`
				Items []struct {
					GUID struct {
						Permalink string `xml:"isPermaLink,attr"`
						Text      string `xml:",chardata"`
					} `xml:"guid"`
					Pub     string `xml:"pubDate"`
					Title   string `xml:"title"`
					Link    string `xml:"link"`
					Content string `xml:"http://purl.org/rss/1.0/modules/content/ encoded"`
				} `xml:"item"`
			} `xml:"channel"`
		}
		if err := xml.Unmarshal([]byte(e.body(t, path)), &d); err != nil {
			t.Fatal(err)
		}
		c := d.Channel
		if d.Version != "2.0" || c.Title == "" || c.Description == "" || len(c.Items) != want || len(c.Links) != 2 {
			t.Fatalf("%s: %+v", path, d)
		}
		if self := c.Links[1]; c.Links[0].Text == "" || self.XMLName.Space != "http://www.w3.org/2005/Atom" || self.Href != baseURL+path || self.Rel != "self" {
			t.Errorf("%s: links %+v", path, c.Links)
		}
		if _, err := mail.ParseDate(c.Build); err != nil {
			t.Errorf("%s: lastBuildDate: %v", path, err)
		}
		seen, last := map[string]bool{}, time.Time{}
		for n, i := range c.Items {
			if seen[i.GUID.Text] || i.GUID.Text == "" || i.GUID.Permalink != "false" || i.Title == "" || !strings.HasPrefix(i.Link, baseURL) || i.Content == "" {
				t.Errorf("%s: item %+v", path, i)
			}
			seen[i.GUID.Text] = true
			at, err := mail.ParseDate(i.Pub)
			if err != nil || n > 0 && at.After(last) {
				t.Errorf("%s: item %d of %q: %v", path, n, i.Pub, err)
			}
			last = at
		}
	}
}

func TestJSONFeeds(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	for path, want := range map[string]int{"/feed.json": 3, "/changelog.json": 5} {
		w := e.get(t, path)
		if ct := w.Header().Get("Content-Type"); ct != "application/feed+json; charset=utf-8" {
			t.Errorf("%s: content type %q", path, ct)
		}
		var d struct {
			Version     string `json:"version"`
			Title       string `json:"title"`
			HomePageURL string `json:"home_page_url"`
			FeedURL     string `json:"feed_url"`
			Language    string `json:"language"`
			Items       []struct {
				ID        string    `json:"id"`
				URL       string    `json:"url"`
				HTML      string    `json:"content_html"`
				Published time.Time `json:"date_published"`
				Modified  time.Time `json:"date_modified"`
				Tags      []string  `json:"tags"`
			} `json:"items"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if d.Version != "https://jsonfeed.org/version/1.1" || d.Title == "" || d.FeedURL != baseURL+path || d.HomePageURL == "" || d.Language != "en" || len(d.Items) != want {
			t.Errorf("%s: %+v", path, d)
		}
		seen := map[string]bool{}
		for n, i := range d.Items {
			if i.ID == "" || seen[i.ID] || i.URL == "" || i.HTML == "" || i.Published.IsZero() || i.Modified.Before(i.Published) || len(i.Tags) != 1 {
				t.Errorf("%s: item %+v", path, i)
			}
			seen[i.ID] = true
			if n > 0 && i.Published.After(d.Items[n-1].Published) {
				t.Errorf("%s: item %d is newer than the one before it", path, n)
			}
		}
	}
}
