package statuspage

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/status.css
var ownCSS string

//go:embed assets/sprite.svg
var ownSprite string

//go:embed assets/favicon.svg
var favicon []byte

// renderer turns a view into pages. It holds what is the same for all of them.
type renderer struct {
	templates map[string]*template.Template // by name of the page
	css       []byte
	cssPath   string
	updates   *markdown // below an update's h3
	entries   *markdown // below an entry's h2
}

// newRenderer parses the templates once for the process; they are embedded, so a mistake in them is ours.
var newRenderer = sync.OnceValue(func() *renderer {
	css := shrinkCSS(string(theme.CSS) + ownCSS)
	sum := sha256.Sum256(css)
	r := &renderer{templates: map[string]*template.Template{}, css: css,
		cssPath: "/assets/" + hex.EncodeToString(sum[:6]) + ".css", updates: newMarkdown(4), entries: newMarkdown(3)}
	funcs := theme.Funcs()
	sprite := pickSymbols(string(theme.Sprite), "logo", "g-major", "g-partial", "g-ticket", "g-watching", "g-fine", "g-planned",
		"g-nodata", "i-next", "i-feed", "i-clock")
	funcs["sprite"] = func() template.HTML { return template.HTML(sprite) } //nolint:gosec // our own files
	funcs["tone"] = tone
	funcs["shape"] = shape
	for _, name := range []string{"home", "incident", "history", "changelog", "uptime", "lost"} {
		r.templates[name] = template.Must(template.New(name).Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html"))
	}
	return r
})

// tone returns the class that colours a state.
func tone(s Status) string {
	switch s {
	case Degraded:
		return "warn"
	case Partial:
		return "part"
	case Major:
		return "bad"
	case Maintenance:
		return "maint"
	}
	return "good"
}

// shape returns the glyph of a state. The word stands beside it.
func shape(s Status) template.HTML {
	switch s {
	case Degraded:
		return theme.Glyph("ticket", "")
	case Partial:
		return theme.Glyph("partial", "")
	case Major:
		return theme.Glyph("major", "")
	case Maintenance:
		return theme.Glyph("planned", "")
	}
	return theme.Glyph("fine", "")
}

// phaseGlyph returns the glyph of a phase in the colour of what it is about.
func phaseGlyph(p Phase, worst Status) template.HTML {
	name, class := "looking", tone(worst)
	switch p {
	case Identified:
		name = "known"
	case Monitoring:
		name = "watching"
	case Resolved:
		name, class = "fine", "good"
	}
	return template.HTML(`<svg class="g ` + class + `" aria-hidden="true"><use href="#g-` + name + `"/></svg>`) //nolint:gosec // constants
}

var symbol = regexp.MustCompile(`(?s)<symbol id="([^"]+)".*?</symbol>`)

// pickSymbols returns a sprite of the named symbols, the hatches and our own: every page carries it, so it is short.
func pickSymbols(sprite string, ids ...string) string {
	var b strings.Builder
	b.WriteString(`<svg class="sprite" width="0" height="0" aria-hidden="true" focusable="false">`)
	if i, j := strings.Index(sprite, `<pattern id="hatch-planned"`), strings.Index(sprite, "</defs>"); i >= 0 && j > i {
		b.WriteString("<defs>" + strings.TrimSpace(sprite[i:j]) + "</defs>")
	}
	for _, m := range symbol.FindAllStringSubmatch(sprite+ownSprite, -1) {
		own := strings.Contains(ownSprite, m[0])
		for _, id := range ids {
			own = own || id == m[1]
		}
		if own {
			b.WriteString(m[0])
		}
	}
	return b.String() + "</svg>"
}

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cssSpace   = regexp.MustCompile(`\s*\n\s*`)
)

// shrinkCSS takes comments and indentation away. What is left is the stylesheet as it was written.
func shrinkCSS(css string) []byte {
	return []byte(strings.TrimSpace(cssSpace.ReplaceAllString(cssComment.ReplaceAllString(css, ""), "\n")))
}

// common is what every page shows.
type common struct {
	Name, Title, Description, CSS, Here, Canonical, Stale string
	Now                                                   time.Time
}

// rendering is one run over a view.
type rendering struct {
	*renderer
	o     *Options
	v     *View
	now   time.Time // to the minute, so that pages of one minute are the same
	stale staleness
	b     *siteBuilder
}

// render makes every page of a view as of now and begins to serve them all at once.
func (s *Service) render(v *View, now time.Time) error {
	last := s.site.Load()
	r := &rendering{renderer: newRenderer(), o: &s.o, v: v, now: now.UTC().Truncate(time.Minute), stale: v.staleness(now, s.o.StaleAfter),
		b: &siteBuilder{site: &site{pages: map[string]*page{}}, last: last}}
	for _, f := range []func() error{r.home, r.incidents, r.history, r.changelog, r.uptime, r.lost, r.feeds, r.v2} {
		if err := f(); err != nil {
			return err
		}
	}
	r.b.add(r.cssPath, "text/css; charset=utf-8", cacheFixed, false, r.css)
	r.b.add("/favicon.svg", "image/svg+xml", "public, max-age=86400", false, favicon)
	r.b.add("/robots.txt", "text/plain; charset=utf-8", "public, max-age=86400", false, []byte("User-agent: *\nAllow: /\n"))
	if r.b.err != nil {
		return r.b.err
	}
	if last != nil { // a page that was loaded a moment ago still asks for its stylesheet
		for path, p := range last.pages {
			if strings.HasPrefix(path, "/assets/") && r.b.site.pages[path] == nil {
				r.b.site.pages[path] = p
			}
		}
	}
	s.site.Store(r.b.site)
	return nil
}

func (r *rendering) common(here, title, description, path string) common {
	return common{Name: r.o.Name, Title: title, Description: description, CSS: r.cssPath, Here: here, Canonical: r.o.BaseURL + path,
		Stale: staleNotice(r.v, r.stale, r.now), Now: r.asOf()}
}

// asOf is the time that the foot of each page names: now, unless what the page shows is older.
func (r *rendering) asOf() time.Time {
	if r.stale.records || r.stale.measured {
		return asOf(r.v, r.stale)
	}
	return r.now
}

func (r *rendering) page(path, name string, data any) error {
	body, err := r.execute(name, data)
	if err != nil {
		return err
	}
	r.b.add(path, "text/html; charset=utf-8", cacheLive, false, body)
	return nil
}

func (r *rendering) execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := r.templates[name].ExecuteTemplate(&b, "layout", data); err != nil {
		return nil, fmt.Errorf("cannot render page %q: %w", name, err)
	}
	return b.Bytes(), nil
}

func (r *rendering) lost() error {
	c := r.common("", "No such page · "+r.o.Name, "There is no page at this address.", "")
	c.Canonical = ""
	body, err := r.execute("lost", c)
	if err != nil {
		return err
	}
	p, err := newPage("text/html; charset=utf-8", "public, max-age=5", false, body)
	r.b.site.lost = p
	return err
}
