package dashboards

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
	"github.com/nexis-limited/headroom/web/theme"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pages are the parsed templates, by page.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	funcs := theme.Funcs()
	funcs["tenantPath"] = tenantPath
	funcs["tenantCSV"] = tenantCSVPath
	funcs["sloPath"] = sloPath
	funcs["auditWith"] = auditWith
	funcs["kindWord"] = kindWord
	funcs["bars"] = budgetBar
	funcs["stateWord"] = stateWord
	funcs["stateGlyph"] = stateGlyph
	funcs["meter"] = meterOf
	funcs["interval"] = intervalOf
	funcs["factor"] = factorWords
	funcs["threshold"] = roundMillis
	funcs["hasValue"] = func(f float64) bool { return f == f }
	funcs["plan"] = planName
	funcs["iconOf"] = func(person bool) string {
		if person {
			return "tenants"
		}
		return "key"
	}
	funcs["csrfField"] = func() string { return web.CSRFField }
	funcs["browserOf"] = browserOf
	p := pages{}
	for _, name := range []string{"tenants", "tenant", "slos", "slo", "alerts", "audit", "message", "signin", "sessions"} {
		t, err := template.New(name).Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("cannot parse the page %q: %w", name, err)
		}
		p[name] = t
	}
	return p, nil
}

// layout is what every page has around its content.
type layout struct {
	Title   string
	Crumbs  []crumb // where you are; the last has no address
	Nav     string  // the item that is current: tenants, slos, alerts
	Now     time.Time
	Style   string
	Script  string
	Sprite  template.HTML
	Theme   string    // "", "light" or "dark"
	Address string    // of this page, path and query
	CSRF    string    // of the session; empty without one
	Who     string    // name of the key or the person who is signed in
	Person  bool      // it is a person
	Home    string    // where their console begins
	Own     tenant.ID // the tenant of whose people they are; empty: they are the operator's
	Manage  []navItem // the pages on who may do what that they may see
	Live    bool      // refreshes itself
	Partial bool      // only the live part is wanted

	Range   window
	Words   string // of the range: "the last hour"
	Ranges  []link
	HasTime bool // the range concerns this page

	StatusURL, DocsURL string
	Burning            int    // SLOs that burn: what the count beside Alerts says
	BurningGlyph       string // shape of the worst of them
	DataAge            time.Duration
	HasAge             bool
	SpansPerSecond     float64
	HasSpans           bool
}

// signedInAs fills in what the page offers to whom.
func (l *layout) signedInAs(who tenant.Identity) {
	l.Person, l.Home, l.Own = who.Person(), homeOf(who), who.Tenant
	l.Manage = manageItems(who)
}

// navItem is a page of the navigation.
type navItem struct{ Name, Label, Href, Icon string }

// manageItems returns the pages on who may do what, and did, that somebody may see.
func manageItems(who tenant.Identity) []navItem {
	var items []navItem
	add := func(may tenant.Permission, item navItem, ofTenant string) {
		switch {
		case who.Can(may):
			items = append(items, item)
		case ofTenant != "" && who.Tenant != tenant.Untagged && who.Product == "" && who.Has(may):
			item.Href = ofTenant
			items = append(items, item)
		}
	}
	add(tenant.MayRead(tenant.ResourceAudit), navItem{"audit", "Audit log", "/audit", "clock"}, tenantAuditPath(who.Tenant))
	return items
}

// PerMinute returns n requests of the range as requests a minute.
func (l *layout) PerMinute(n uint64) float64 { return float64(n) / l.Range.Minutes() }

type crumb struct{ Label, Href string }

// link is one choice of several.
type link struct {
	Label, Href string
	Current     bool
	Count       int
	Glyph       string
}

// panel is a part of a page that failed on its own: the rest still renders.
type panel struct {
	Message string // what is wrong, empty when all is well
	Hint    string // what to do
}

// Failed reports whether the panel has nothing to show.
func (p panel) Failed() bool { return p.Message != "" }

// failed logs an error and returns what its panel says instead of numbers.
func (c *Console) failed(ctx context.Context, what string, err error) panel {
	if err == nil {
		return panel{}
	}
	if ctx.Err() == nil { // else the reader left
		c.log.ErrorContext(ctx, "a panel failed", "panel", what, "error", err)
	}
	if fault.Is(err, fault.Unavailable) {
		p := panel{Message: sentence(err), Hint: "Data that comes in is kept and shows here afterwards. This page tries again by itself."}
		if strings.Contains(p.Message, "longer than") {
			p.Hint = "Try a shorter range. This page tries again by itself."
		}
		return p
	}
	return panel{Message: "Reading " + what + " failed.", Hint: "The reason is in headroom's log."}
}

// sentence returns an error's public words as a sentence.
func sentence(err error) string {
	p := web.NewProblem(err).Detail
	if p == "" {
		return ""
	}
	return strings.ToUpper(p[:1]) + p[1:] + "."
}

// newLayout fills in what all pages share. A page that needs a time range sets hasTime.
func (c *Console) newLayout(r *http.Request, nav, title string, hasTime bool) (*layout, error) {
	l := &layout{
		Title: title, Nav: nav, Now: c.now().UTC(), Style: c.assets.Style, Script: c.assets.Script, Sprite: theme.Sprite,
		Theme: themeOf(r), Address: r.URL.RequestURI(), StatusURL: c.opts.StatusURL, DocsURL: c.opts.DocsURL, Live: true,
		Partial: r.Header.Get("HX-Request") == "true", HasTime: hasTime,
	}
	if s, ok := web.SessionFrom(r.Context()); ok {
		l.CSRF, l.Who = s.CSRFToken, s.Name
		l.signedInAs(s.Identity)
	} else if id, ok := tenant.IdentityFrom(r.Context()); ok {
		l.Who = id.Name
		l.signedInAs(id)
	}
	w, p, err := parseRange(r.FormValue("range"), l.Now)
	if err != nil {
		return nil, err
	}
	l.Range, l.Words = w, p.Words
	for _, p := range presets() {
		l.Ranges = append(l.Ranges, link{Label: p.Label, Href: withQuery(r.URL, "range", p.Name, "page", ""), Current: p.Name == w.Name})
	}
	if c.opts.Stats != nil && l.Own == tenant.Untagged { // what all tenants send together is the operator's to know
		l.SpansPerSecond, l.HasSpans = c.opts.Stats(), true
	}
	return l, nil
}

// snapshot reads the SLOs and puts their age into the layout.
func (c *Console) snapshot(ctx context.Context, l *layout) (*slo.Snapshot, panel) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	snap, err := c.opts.SLO.Snapshot(ctx)
	if err != nil {
		return nil, c.failed(ctx, "the SLOs", err)
	}
	l.DataAge, l.HasAge = max(0, l.Now.Sub(snap.At)), true
	return snap, panel{}
}

// withQuery returns the address with some parameters set; an empty value removes one.
func withQuery(u *url.URL, pairs ...string) string {
	q := u.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		} else {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	path := u.EscapedPath()
	if s := q.Encode(); s != "" {
		path += "?" + s
	}
	return path
}

// render writes a page, or only its live part when the script asks for it.
func (c *Console) render(w http.ResponseWriter, name string, status int, partial bool, data any) error {
	t := "layout"
	if partial {
		t = "partial"
	}
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, t, data); err != nil {
		return fmt.Errorf("cannot render the page %q: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "HX-Request, Cookie")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader is gone
	return nil
}

// tenantPath returns the address of a tenant's page. An id can hold any character; those that no path segment can be
// go into the query.
func tenantPath(id tenant.ID) string {
	switch id {
	case tenant.Untagged:
		return "/untagged"
	case ".", "..":
		return "/tenant?id=" + url.QueryEscape(string(id))
	}
	return "/tenants/" + url.PathEscape(string(id))
}

// tenantCSVPath returns the address of a tenant's table as CSV: series or routes.
func tenantCSVPath(id tenant.ID, table, rangeName string) string {
	return "/tenant.csv?" + url.Values{"id": {string(id)}, "table": {table}, "range": {rangeName}}.Encode()
}

// tenantAuditPath returns the address of a tenant's own entries of the audit log.
func tenantAuditPath(id tenant.ID) string {
	return "/tenant/audit?" + url.Values{"id": {string(id)}}.Encode()
}

func sloPath(name string) string { return "/slos/" + url.PathEscape(name) }
