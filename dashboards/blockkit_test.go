package dashboards

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestMrkdwn(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(mrkdwn(in)); got != want {
			t.Errorf("mrkdwn(%q)\n got %s\nwant %s", in, got, want)
		}
	}
	f("plain", "plain")
	f("*8.6 % fail:* 338 of 3,930", "<b>8.6 % fail:</b> 338 of 3,930")
	f("2 * 3 * 4", "2 * 3 * 4")
	f("*a*b", "*a*b")
	f("_so_ ~not~ `a*b*`", "<i>so</i> <s>not</s> <code>a*b*</code>")
	f("snake_case_name", "snake_case_name")
	f("• one\n• two", "• one<br>• two")
	f("*open\nnot closed*", "*open<br>not closed*")
	f("<https://a.example/x?y=1&amp;z=2|Mossgrove &amp; Co>", `<a href="https://a.example/x?y=1&amp;z=2">Mossgrove &amp; Co</a>`)
	f("*<https://a.example/t|Mossgrove>*: 16×", `<b><a href="https://a.example/t">Mossgrove</a></b>: 16×`)
	f("<https://a.example>", `<a href="https://a.example">https://a.example</a>`)
	f("<javascript:alert(1)|click>", "click")
	f("<!date^1795511640^{time}|09:14 UTC>", `<time datetime="2026-11-24T09:14:00Z">09:14 UTC</time>`)
	f("<!date^x^{time}|09:14 UTC>", "09:14 UTC")
	f("<!subteam^S0COMMERCE> <!here> <@U1|ana>", `<span class="mention">@S0COMMERCE</span> <span class="mention">@here</span> <span class="mention">ana</span>`)
	f("&lt;script&gt; &amp; <b", "&lt;script&gt; &amp; &lt;b")
	f("12:30:45 :no_such_emoji:", "12:30:45 :no_such_emoji:")
	if got := string(mrkdwn(":octagonal_sign: *Page*")); !strings.HasPrefix(got, `<svg class="g bad small" role="img" aria-label="Page">`) {
		t.Errorf("an emoji: %s", got)
	}
}

func TestParseBlocks(t *testing.T) {
	blocks := parseBlocks([]byte(`[
		{"type":"header","text":{"type":"plain_text","text":"A *b* <c>"}},
		{"type":"section","text":{"type":"mrkdwn","text":"*x*"},"fields":[{"type":"mrkdwn","text":"y"}]},
		{"type":"image","image_url":"https://a.example"},
		{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Open"},"url":"https://a.example/","style":"primary"},
			{"type":"button","text":{"type":"plain_text","text":"Bad"},"url":"javascript:1"}]},
		{"type":"context","elements":[{"type":"mrkdwn","text":"_z_"}]}]`))
	if len(blocks) != 4 {
		t.Fatalf("%d blocks, want 4: %+v", len(blocks), blocks)
	}
	if blocks[0].Text != "A *b* &lt;c&gt;" || blocks[1].Text != "<b>x</b>" || blocks[1].Fields[0] != "y" || blocks[3].Elements[0] != "<i>z</i>" {
		t.Errorf("got %+v", blocks)
	}
	if b := blocks[2].Buttons; len(b) != 2 || b[0] != (button{"Open", "https://a.example/", true}) || b[1].Href != "" {
		t.Errorf("buttons %+v", blocks[2].Buttons)
	}
	if b := parseBlocks([]byte(`{"blocks":[{"type":"divider"}]}`)); len(b) != 1 {
		t.Errorf("wrapped: %+v", b)
	}
	for _, bad := range []string{"", "null", "7", `"x"`, "[7]", `[{"type":7}]`, `[{"type":"context","elements":[{"type":"mrkdwn","text":7}]}]`} {
		parseBlocks([]byte(bad)) // must not panic
	}
}

// Whatever an alert says, its markup holds known elements only and every address is http.
func FuzzMrkdwn(f *testing.F) {
	for _, s := range []string{"*a* _b_ `c` <https://d.example|e>", "<!date^1^{x}|y>", "<<script>>", "*_~`*_~`", ":warning:", "<https://a\"b|c>", "&lt;&amp;lt;"} {
		f.Add(s)
	}
	known := map[string]bool{"html": true, "head": true, "body": true, "b": true, "i": true, "s": true, "code": true, "a": true, "br": true, "time": true,
		"span": true, "svg": true, "use": true}
	f.Fuzz(func(t *testing.T, s string) {
		doc, err := html.Parse(strings.NewReader(string(mrkdwn(s))))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range all(doc, func(*html.Node) bool { return true }) {
			if !known[n.Data] {
				t.Errorf("%q made <%s>", s, n.Data)
			}
			for _, a := range n.Attr {
				if a.Key == "href" && n.Data == "a" && !strings.HasPrefix(a.Val, "http://") && !strings.HasPrefix(a.Val, "https://") {
					t.Errorf("%q links to %q", s, a.Val)
				}
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("%q made the attribute %s", s, a.Key)
				}
			}
		}
	})
}
