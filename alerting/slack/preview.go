package slack

import (
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Block is one part of a message, simple enough for a page to show.
type Block struct {
	Kind    string   // header, text, buttons, context
	Lines   [][]Span // of header, text and context
	Buttons []Button // of buttons
}

// Span is a run of text in one style.
type Span struct {
	Text  string
	Bold  bool
	Code  bool
	URL   string    // of a link, else empty
	Time  time.Time // of a date that Slack shows in the reader's zone, else zero; Text is UTC
	Glyph string    // page, ticket, acked, fine: the sign that Slack shows as an emoji; Text is then its name in words
}

// Button opens an address.
type Button struct {
	Label   string
	URL     string
	Primary bool
}

// Preview reads the Block Kit that this package renders, so that a page can show a message as Slack would. Blocks and
// marks that we never write come back as plain text; only addresses that begin with http stay links.
func Preview(blocks json.RawMessage) ([]Block, error) {
	type text struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	var raw []struct {
		Type     string `json:"type"`
		Text     *text  `json:"text"`
		Elements []struct {
			Type  string          `json:"type"`
			Text  json.RawMessage `json:"text"` // an object in a button, a string in a context
			URL   string          `json:"url"`
			Style string          `json:"style"`
		} `json:"elements"`
	}
	if err := json.Unmarshal(blocks, &raw); err != nil {
		return nil, fmt.Errorf("cannot read the blocks of a message: %w", err)
	}
	out := make([]Block, 0, len(raw))
	for _, r := range raw {
		b := Block{Kind: r.Type}
		switch r.Type {
		case "section":
			b.Kind = "text"
		case "actions":
			b.Kind = "buttons"
		}
		if r.Text != nil && r.Text.Type == "mrkdwn" {
			b.Lines = lines(r.Text.Text)
		} else if r.Text != nil {
			b.Lines = [][]Span{{{Text: r.Text.Text}}}
		}
		for _, e := range r.Elements {
			var label text
			var line string
			switch {
			case json.Unmarshal(e.Text, &line) == nil:
				b.Lines = append(b.Lines, lines(line)...)
			case json.Unmarshal(e.Text, &label) == nil:
				b.Buttons = append(b.Buttons, Button{Label: label.Text, URL: web(e.URL), Primary: e.Style == "primary"})
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// glyphs are the emojis that our messages use.
var glyphs = map[string]Span{
	"octagonal_sign":   {Glyph: "page", Text: "Page"},
	"warning":          {Glyph: "ticket", Text: "Ticket"},
	"eyes":             {Glyph: "acked", Text: "Acknowledged"},
	"white_check_mark": {Glyph: "fine", Text: "Resolved"},
}

// mark matches what Slack acts on in mrkdwn: <…>, :emoji:, *, and `code`.
var mark = regexp.MustCompile("<[^<>]*>|:[a-z_]+:|\\*|`[^`]*`")

func lines(mrkdwn string) [][]Span {
	var out [][]Span
	for line := range strings.SplitSeq(mrkdwn, "\n") {
		out = append(out, spans(line))
	}
	return out
}

func spans(line string) []Span {
	var out []Span
	bold := false
	add := func(s Span) {
		if s.Text != "" {
			s.Bold = bold
			out = append(out, s)
		}
	}
	last := 0
	for _, at := range mark.FindAllStringIndex(line, -1) {
		add(Span{Text: html.UnescapeString(line[last:at[0]])})
		switch m := line[at[0]:at[1]]; m[0] {
		case '*':
			bold = !bold
		case '<':
			add(angle(m[1 : len(m)-1]))
		case '`':
			add(Span{Text: html.UnescapeString(strings.Trim(m, "`")), Code: true})
		default:
			s, ok := glyphs[strings.Trim(m, ":")]
			if !ok {
				s = Span{Text: m}
			}
			add(s)
		}
		last = at[1]
	}
	add(Span{Text: html.UnescapeString(line[last:])})
	return out
}

// angle reads a link, url|text, or a date, !date^seconds^format|text.
func angle(s string) Span {
	target, label, ok := strings.Cut(s, "|")
	if !ok {
		label = target
	}
	span := Span{Text: html.UnescapeString(label)}
	if rest, isDate := strings.CutPrefix(target, "!date^"); isDate {
		seconds, _, _ := strings.Cut(rest, "^")
		if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
			span.Time = time.Unix(n, 0).UTC()
		}
		return span
	}
	span.URL = web(html.UnescapeString(target))
	return span
}

// web returns the address if a browser may follow it.
func web(u string) string {
	if strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
		return u
	}
	return ""
}
