package dashboards

import (
	"encoding/json"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

// block is one Block Kit block, ready to show.
type block struct {
	Kind     string // header, section, context, actions, divider
	Text     template.HTML
	Fields   []template.HTML
	Elements []template.HTML // of context
	Buttons  []button
}

type button struct {
	Label, Href string
	Primary     bool
}

// blockJSON is the part of Block Kit that headroom sends.
type blockJSON struct {
	Type     string     `json:"type"`
	Text     *textJSON  `json:"text"`
	Fields   []textJSON `json:"fields"`
	Elements []struct {
		Type  string          `json:"type"`
		Text  json.RawMessage `json:"text"` // a string in context, an object in buttons
		URL   string          `json:"url"`
		Style string          `json:"style"`
	} `json:"elements"`
}

type textJSON struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func (t *textJSON) html() template.HTML {
	if t == nil {
		return ""
	}
	if t.Type == "plain_text" {
		return plainText(t.Text)
	}
	return mrkdwn(t.Text)
}

// parseBlocks reads Block Kit: a list of blocks, or an object that holds one as Slack's tools write it. Blocks of a kind
// that headroom does not send are left out; what is no JSON gives nothing.
func parseBlocks(raw json.RawMessage) []block {
	var in []blockJSON
	if json.Unmarshal(raw, &in) != nil {
		var wrapped struct {
			Blocks []blockJSON `json:"blocks"`
		}
		if json.Unmarshal(raw, &wrapped) != nil {
			return nil
		}
		in = wrapped.Blocks
	}
	out := make([]block, 0, len(in))
	for _, b := range in {
		v := block{Kind: b.Type, Text: b.Text.html()}
		for i := range b.Fields {
			v.Fields = append(v.Fields, b.Fields[i].html())
		}
		for _, e := range b.Elements {
			switch e.Type {
			case "mrkdwn", "plain_text":
				var s string
				if json.Unmarshal(e.Text, &s) == nil {
					v.Elements = append(v.Elements, (&textJSON{e.Type, s}).html())
				}
			case "button":
				var t textJSON
				if json.Unmarshal(e.Text, &t) == nil {
					v.Buttons = append(v.Buttons, button{Label: t.Text, Href: safeURL(e.URL), Primary: e.Style == "primary"})
				}
			}
		}
		switch b.Type {
		case "header", "section", "context", "actions", "divider":
			out = append(out, v)
		}
	}
	return out
}

// plainText escapes text and shows emoji names as glyphs.
func plainText(s string) template.HTML { return (&mrkdwnWriter{}).run(s, false) }

// mrkdwn renders Slack's markup: *bold*, _italic_, ~struck~, `code`, <url|label>, dates, mentions, emoji names.
func mrkdwn(s string) template.HTML { return (&mrkdwnWriter{}).run(s, true) }

type mrkdwnWriter struct{ b strings.Builder }

// maxNesting bounds how deep markup is followed; deeper is shown as it stands.
const maxNesting = 4

func (w *mrkdwnWriter) run(s string, markup bool) template.HTML {
	depth := maxNesting
	if !markup {
		depth = 0
	}
	w.text(s, depth)
	return template.HTML(w.b.String()) //nolint:gosec // every piece of text was escaped on its way in
}

// text writes s, following markup while depth is above 0.
func (w *mrkdwnWriter) text(s string, depth int) {
	for s != "" {
		switch c := s[0]; {
		case c == '\n':
			w.b.WriteString("<br>")
			s = s[1:]
			continue
		case c == '<' && depth > 0:
			if end := strings.IndexByte(s, '>'); end > 0 {
				w.angle(s[1:end])
				s = s[end+1:]
				continue
			}
		case c == ':':
			if end := strings.IndexByte(s[1:], ':'); end > 0 {
				if glyph, ok := emoji(s[1 : 1+end]); ok {
					w.b.WriteString(string(glyph))
					s = s[2+end:]
					continue
				}
			}
		case depth > 0 && strings.IndexByte("*_~`", c) >= 0:
			if inner, rest, ok := cutSpan(s, c); ok {
				tag := map[byte]string{'*': "b", '_': "i", '~': "s", '`': "code"}[c]
				w.b.WriteString("<" + tag + ">")
				if c == '`' {
					w.escape(inner)
				} else {
					w.text(inner, depth-1)
				}
				w.b.WriteString("</" + tag + ">")
				s = rest
				continue
			}
		}
		next := strings.IndexAny(s[1:], "\n<:*_~`")
		if next < 0 {
			w.escape(s)
			return
		}
		w.escape(s[:1+next])
		s = s[1+next:]
	}
}

// cutSpan cuts *inner* off the front of s. The marks must touch the text, and end at a word's end on one line.
func cutSpan(s string, mark byte) (inner, rest string, ok bool) {
	line := s
	if nl := strings.IndexByte(s, '\n'); nl >= 0 {
		line = s[:nl]
	}
	end := strings.IndexByte(line[1:], mark)
	if end <= 0 || line[1] == ' ' || line[end] == ' ' {
		return "", s, false
	}
	if after := end + 2; after < len(line) && isWord(line[after]) {
		return "", s, false
	}
	return s[1 : 1+end], s[end+2:], true
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// angle writes what stood between < and >: a link, a date, or a mention.
func (w *mrkdwnWriter) angle(s string) {
	target, label, labelled := strings.Cut(s, "|")
	switch {
	case strings.HasPrefix(target, "!date^"):
		if parts := strings.Split(target, "^"); len(parts) >= 3 {
			if sec, err := strconv.ParseInt(parts[1], 10, 64); err == nil && sec > 0 && sec < 1<<40 {
				t := time.Unix(sec, 0)
				if !labelled {
					label = theme.Clock(t) + " UTC"
				}
				w.b.WriteString(`<time datetime="` + theme.ISO(t) + `">`)
				w.escape(label)
				w.b.WriteString("</time>")
				return
			}
		}
		w.escape(label)
	case strings.HasPrefix(target, "!") || strings.HasPrefix(target, "@") || strings.HasPrefix(target, "#"):
		name := strings.TrimPrefix(target, "!")
		if labelled {
			name = label
		} else if group, ok := strings.CutPrefix(name, "subteam^"); ok {
			name = "@" + group
		} else if name == "here" || name == "channel" || name == "everyone" {
			name = "@" + name
		}
		w.b.WriteString(`<span class="mention">`)
		w.escape(name)
		w.b.WriteString("</span>")
	default:
		if !labelled {
			label = target
		}
		href := safeURL(unescape(target))
		if href == "" {
			w.escape(label)
			return
		}
		w.b.WriteString(`<a href="` + template.HTMLEscapeString(href) + `">`)
		w.escape(label)
		w.b.WriteString("</a>")
	}
}

// escape writes text. Slack escapes three characters of its own; they are undone first.
func (w *mrkdwnWriter) escape(s string) { w.b.WriteString(template.HTMLEscapeString(unescape(s))) }

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// safeURL returns an http or https address as it is, else nothing.
func safeURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.String()
}

// emoji returns the glyph that stands for an emoji's name in our messages.
func emoji(name string) (template.HTML, bool) {
	glyphs := map[string][2]string{
		"octagonal_sign": {"page", "Page"}, "rotating_light": {"page", "Page"}, "red_circle": {"page", "Page"},
		"warning": {"ticket", "Ticket"}, "white_check_mark": {"fine", "Resolved"}, "large_green_circle": {"fine", "Resolved"},
		"eyes": {"acked", "Acknowledged"}, "bust_in_silhouette": {"acked", "Acknowledged"},
	}
	g, ok := glyphs[name]
	if !ok {
		return "", false
	}
	return theme.Glyph(g[0], g[1], "small"), true
}
