package statuspage

import (
	"strings"
	"testing"
	"time"
)

func TestJudgement(t *testing.T) {
	f := func(v *View, stale staleness, status Status, title, lede string) {
		t.Helper()
		d := judgement(v, stale, noon)
		if d.Status != status || d.Title != title || d.Lede != lede {
			t.Errorf("got %s\n%s\n%s\nwant %s\n%s\n%s", d.Status, d.Title, d.Lede, status, title, lede)
		}
	}
	view := func(is []ViewIncident, cs ...ViewComponent) *View {
		return &View{RecordsAt: noon.Add(-12 * time.Minute), MeasuredAt: noon.Add(-14 * time.Minute), Groups: []ViewGroup{{Components: cs}}, Incidents: is}
	}
	good := ViewComponent{Name: "Search", Status: Operational, Measured: true}
	since := noon.Add(-38 * time.Minute)
	failing := ViewComponent{Name: "Checkout", Status: Partial, Since: since, Failing: 0.123, Measured: true}
	slow := ViewComponent{Name: "Import", Status: Degraded, Since: since.Add(time.Minute)}
	ended := noon.AddDate(0, 0, -3)

	f(view(nil), staleness{}, Operational, "Nothing has been reported", "There are no components on this page yet. Incidents will be told here.")
	f(view(nil, good, good), staleness{}, Operational, "Everything works", "All 2 components do. There has been no incident yet.")
	f(view([]ViewIncident{{ResolvedAt: &ended}}, good), staleness{}, Operational, "Everything works", "Search does. The last incident ended on 21 Nov 2026.")
	f(view(nil, good), staleness{measured: true}, Operational, "Everything worked at 11:46 UTC", "We have no newer information at the moment.")
	f(view(nil, failing, good), staleness{}, Partial, "Checkout: partial outage",
		"About 12 in 100 requests to Checkout fail. Our measurements say so since 11:22 UTC, 38\u202fmin ago. Everything else works.")
	f(view(nil, slow, failing), staleness{}, Partial, "Checkout and Import have trouble",
		"About 12 in 100 requests to Checkout fail. Our measurements say so since 11:22 UTC, 38\u202fmin ago.")
	f(view(nil, ViewComponent{Name: "Ledger", Status: Maintenance}, good), staleness{}, Maintenance, "Ledger is in maintenance",
		"The work is planned. Everything else works.")
	f(view([]ViewIncident{{Name: "Some checkouts are failing", StartedAt: since, Phase: Identified, Worst: Partial}}, failing, slow, good), staleness{}, Partial,
		"Some checkouts are failing", "About 12 in 100 requests to Checkout fail. Import is degraded. It began at 11:22 UTC, 38\u202fmin ago. Everything else works.")
	f(view([]ViewIncident{{Name: "Slow", StartedAt: noon.AddDate(0, 0, -1), Worst: Degraded}, {Name: "Down", StartedAt: since, Worst: Major}}, good), staleness{}, Major,
		"Down", "It began at 11:22 UTC, 38\u202fmin ago. 1 more incident is open below.")
}

func TestStaleNotice(t *testing.T) {
	v := &View{RecordsAt: noon.Add(-12 * time.Minute), MeasuredAt: noon.Add(-14 * time.Minute)}
	f := func(s staleness, want string) {
		t.Helper()
		if got := staleNotice(v, s, noon); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
	f(staleness{}, "")
	f(staleness{measured: true}, "As of 11:46 UTC, 14\u202fmin ago. We cannot measure")
	f(staleness{records: true}, "As of 11:48 UTC, 12\u202fmin ago. Measurements are current")
	f(staleness{records: true, measured: true}, "As of 11:46 UTC, 14\u202fmin ago. We cannot read newer")
}

func TestMarkdownIsSafeAndShort(t *testing.T) {
	m := newMarkdown(3)
	f := func(source, want string) {
		t.Helper()
		got, err := m.html(source)
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%q: %q, %v; want %q", source, got, err, want)
		}
	}
	f("Some **words**", "<p>Some <strong>words</strong></p>")
	f("a <script>alert(1)</script> b", "<p>a alert(1) b</p>")
	f("<img src=x onerror=alert(1)>", "")
	f("![a picture](https://x.example/p.png)", "<p></p>")
	f("[x](javascript:alert(1))", "<p>x</p>")
	f("[x](https://x.example/?a=1&b=2)", `<p><a href="https://x.example/?a=1&amp;b=2">x</a></p>`)
	f("<p style=\"color:red\" onclick=\"x()\">hi</p>", "")
	f("~~09:18~~ 09:14", "<p><del>09:18</del> 09:14</p>")
	f("## One\n\n### Two", "<h3>One</h3>\n<h4>Two</h4>")
	f("# One", "<h3>One</h3>")

	first := func(source string, limit int, want string) {
		t.Helper()
		if got := m.firstParagraph(source, limit); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
	first("## Head\n\nOne & *two*.\n\nThree.", 100, "One & two.")
	first("~~7~~ 6 in 100", 100, "6 in 100")
	first("one two three", 9, "one two…")
	first("ééééé", 5, "éé…")
	first("", 5, "")
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"", "# a", "<b onclick=x>", "[a](javascript:x)", "<style>a{}</style>", "![](x)", "```\nx\n```", "<a href='data:text/html,x'>"} {
		f.Add(s)
	}
	m := newMarkdown(3)
	f.Fuzz(func(t *testing.T, source string) {
		html, err := m.html(source)
		if err != nil {
			return
		}
		for _, bad := range []string{"<script", "<style", "<img", "<iframe", "<svg", "<form"} {
			if strings.Contains(strings.ToLower(string(html)), bad) {
				t.Fatalf("%q renders %q", source, html)
			}
		}
		m.firstParagraph(source, 20)
	})
}
