package statuspage

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/feeds"
)

// feedEntries is how many entries a feed has.
const feedEntries = 50

// feedItem is an entry in any of the three formats.
type feedItem struct {
	id, link, title, text, html, category string
	published, updated                    time.Time
}

// feed is a feed in any of the three formats.
type feed struct {
	name, title, description, home string // name is of its files: "feed", "changelog"
	items                          []feedItem
}

// began is the year in which the ids of feeds were coined; a tag URI needs a date on which we owned the host.
const began = "2026"

func (o *Options) tag(of string) string { return "tag:" + o.host() + "," + began + ":" + of }

// feeds adds both feeds in all formats. Statuspage's names are the same bytes.
func (r *rendering) feeds() error {
	incidents, err := r.incidentFeed()
	if err != nil {
		return err
	}
	entries, err := r.changelogFeed()
	if err != nil {
		return err
	}
	for _, f := range []*feed{incidents, entries} {
		slices.SortStableFunc(f.items, func(a, b feedItem) int { return b.published.Compare(a.published) })
		f.items = f.items[:min(len(f.items), feedEntries)]
		atom, err := r.atom(f)
		if err != nil {
			return err
		}
		rss, err := r.rss(f)
		if err != nil {
			return err
		}
		jf, err := r.jsonFeed(f)
		if err != nil {
			return err
		}
		names := []string{f.name}
		if f.name == "feed" {
			names = append(names, "history")
		}
		for _, n := range names {
			r.b.add("/"+n+".atom", "application/atom+xml; charset=utf-8", cacheLive, true, atom)
			r.b.add("/"+n+".rss", "application/rss+xml; charset=utf-8", cacheLive, true, rss)
		}
		r.b.add("/"+f.name+".json", "application/feed+json; charset=utf-8", cacheLive, true, jf)
	}
	return nil
}

func (r *rendering) incidentFeed() (*feed, error) {
	f := &feed{name: "feed", title: r.o.Name + " status", description: "Incidents of " + r.o.Name + ".", home: r.o.BaseURL + "/"}
	for n := range r.v.Incidents {
		i := &r.v.Incidents[n]
		item := feedItem{id: r.o.tag("incidents/" + i.ID), link: r.o.BaseURL + "/incidents/" + i.ID, title: i.Name, category: i.Phase.Word(),
			published: i.CreatedAt, updated: i.UpdatedAt}
		var b strings.Builder
		for u := range i.Updates {
			body, err := r.updates.html(i.Updates[u].Body)
			if err != nil {
				return nil, err
			}
			// Full dates: a reader shows this long after.
			fmt.Fprintf(&b, "<p><strong>%s</strong>, %s UTC</p>\n%s", i.Updates[u].Phase.Word(), i.Updates[u].DisplayAt.Format("2 Jan 2006, 15:04"), body)
		}
		item.html = r.absolute(b.String())
		item.text = i.Phase.Word()
		if len(i.Updates) > 0 {
			item.text += ": " + r.updates.firstParagraph(i.Updates[0].Body, 400)
		}
		f.items = append(f.items, item)
	}
	return f, nil
}

func (r *rendering) changelogFeed() (*feed, error) {
	f := &feed{name: "changelog", title: r.o.Name + " changelog", description: "What changed in " + r.o.Name + ".", home: r.o.BaseURL + "/changelog"}
	for n := range r.v.Changelog {
		e := &r.v.Changelog[n]
		html, err := r.entries.html(e.Body)
		if err != nil {
			return nil, err
		}
		f.items = append(f.items, feedItem{id: r.o.tag("changelog/" + e.ID), link: r.o.BaseURL + "/changelog#" + e.ID, title: e.Title,
			text: strings.TrimSpace(e.Type.Word() + ": " + r.entries.firstParagraph(e.Body, 400)), html: r.absolute(string(html)), category: e.Type.Word(),
			published: e.PublishedAt, updated: e.UpdatedAt})
	}
	return f, nil
}

// absolute makes links to other pages of ours ones that a reader of feeds can follow.
func (r *rendering) absolute(html string) string {
	return strings.ReplaceAll(html, `href="/`, `href="`+r.o.BaseURL+"/")
}

// updated is when the newest entry changed. A feed without entries changed when there was nothing: at the epoch, not now,
// or every reader would think it new each time.
func (f *feed) updated() time.Time {
	t := time.Unix(0, 0)
	for i := range f.items {
		t = later(t, f.items[i].updated)
	}
	return t.UTC()
}

func (f *feed) generic() *feeds.Feed {
	g := &feeds.Feed{Title: f.title, Link: &feeds.Link{Href: f.home}, Description: f.description, Updated: f.updated()}
	for _, i := range f.items {
		g.Items = append(g.Items, &feeds.Item{Title: i.title, Link: &feeds.Link{Href: i.link}, Description: i.text, Id: i.id, IsPermaLink: "false",
			Updated: i.updated.UTC(), Created: i.published.UTC(), Content: i.html})
	}
	return g
}

// atomFeed adds what gorilla/feeds has no place for: a link to the feed itself beside the one to the page.
type atomFeed struct {
	*feeds.AtomFeed
	Links []feeds.AtomLink `xml:"link"`
}

func (r *rendering) atom(f *feed) ([]byte, error) {
	a := (&feeds.Atom{Feed: f.generic()}).AtomFeed()
	a.Id, a.Icon = r.o.tag(f.name), r.o.BaseURL+"/favicon.svg"
	a.Author = &feeds.AtomAuthor{AtomPerson: feeds.AtomPerson{Name: r.o.Name, Uri: r.o.BaseURL + "/"}}
	for n, e := range a.Entries {
		e.Published = f.items[n].published.UTC().Format(time.RFC3339)
		e.Summary.Type = "text"
	}
	a.Link = nil
	return xmlDocument(atomFeed{AtomFeed: a, Links: []feeds.AtomLink{
		{Href: f.home, Rel: "alternate", Type: "text/html"},
		{Href: r.o.BaseURL + "/" + f.name + ".atom", Rel: "self", Type: "application/atom+xml"},
	}})
}

type rssDocument struct {
	XMLName   xml.Name   `xml:"rss"`
	Version   string     `xml:"version,attr"`
	ContentNS string     `xml:"xmlns:content,attr"`
	AtomNS    string     `xml:"xmlns:atom,attr"`
	Channel   rssChannel `xml:"channel"`
}

type rssChannel struct {
	*feeds.RssFeed
	Self rssSelf `xml:"atom:link"`
}

type rssSelf struct {
	Href string `xml:"href,attr"`
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr"`
}

func (r *rendering) rss(f *feed) ([]byte, error) {
	c := (&feeds.Rss{Feed: f.generic()}).RssFeed()
	c.Language, c.Ttl, c.Generator, c.PubDate = "en", 5, "headroom", ""
	for n, i := range c.Items {
		i.Category = f.items[n].category
	}
	return xmlDocument(rssDocument{Version: "2.0", ContentNS: "http://purl.org/rss/1.0/modules/content/", AtomNS: "http://www.w3.org/2005/Atom",
		Channel: rssChannel{RssFeed: c, Self: rssSelf{r.o.BaseURL + "/" + f.name + ".rss", "self", "application/rss+xml"}}})
}

// jsonFeed has items even when there are none, as JSON Feed 1.1 demands.
type jsonFeed struct {
	*feeds.JSONFeed
	Items []*feeds.JSONItem `json:"items"`
}

func (r *rendering) jsonFeed(f *feed) ([]byte, error) {
	j := (&feeds.JSON{Feed: f.generic()}).JSONFeed()
	j.FeedUrl, j.Favicon, j.Language = r.o.BaseURL+"/"+f.name+".json", r.o.BaseURL+"/favicon.svg", "en"
	j.Authors = []*feeds.JSONAuthor{{Name: r.o.Name, Url: r.o.BaseURL + "/"}}
	items := make([]*feeds.JSONItem, 0, len(j.Items))
	for n, i := range j.Items {
		i.Tags = []string{f.items[n].category}
		if i.ContentHTML == "" { // one of the two is required
			i.ContentText = i.Title
		}
		items = append(items, i)
	}
	j.Items = nil
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(jsonFeed{j, items}); err != nil {
		return nil, fmt.Errorf("cannot encode JSON feed %q: %w", f.name, err)
	}
	return b.Bytes(), nil
}

func xmlDocument(v any) ([]byte, error) {
	b, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode a feed: %w", err)
	}
	return append(append([]byte(xml.Header), b...), '\n'), nil
}
