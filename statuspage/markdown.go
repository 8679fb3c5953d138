package statuspage

import (
	"bytes"
	"fmt"
	stdhtml "html"
	"html/template"
	"regexp"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown turns what people write into HTML that is safe to show. It is safe for concurrent use.
type markdown struct {
	md     goldmark.Markdown
	policy *bluemonday.Policy
	plain  *bluemonday.Policy
}

// newMarkdown returns a renderer whose highest heading is of level, so that headings go on from the page's own.
func newMarkdown(level int) *markdown {
	// What a text needs and no more: no pictures (the policy of the page refuses them), no classes, no raw HTML.
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "strong", "em", "del", "ins", "code", "pre", "ul", "li", "blockquote", "hr", "h2", "h3", "h4", "h5", "h6")
	p.AllowAttrs("start").Matching(regexp.MustCompile(`^[0-9]{1,9}$`)).OnElements("ol")
	p.AllowElements("ol")
	p.AllowAttrs("href").OnElements("a")
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowRelativeURLs(true)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(false)
	return &markdown{
		md: goldmark.New(
			goldmark.WithExtensions(extension.Strikethrough, extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"}))),
			goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(deeperHeadings{level}, 100))),
		),
		policy: p, plain: bluemonday.StrictPolicy(),
	}
}

type deeperHeadings struct{ level int }

// Transform moves the headings of a text below those of the page.
func (d deeperHeadings) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	top := 6
	each := func(f func(h *ast.Heading)) {
		_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			if h, ok := n.(*ast.Heading); ok && entering {
				f(h)
			}
			return ast.WalkContinue, nil
		})
	}
	each(func(h *ast.Heading) { top = min(top, h.Level) })
	each(func(h *ast.Heading) { h.Level = min(6, h.Level-top+d.level) })
}

// html renders source.
func (m *markdown) html(source string) (template.HTML, error) {
	var b bytes.Buffer
	if err := m.md.Convert([]byte(source), &b); err != nil {
		return "", fmt.Errorf("cannot render Markdown: %w", err)
	}
	return template.HTML(m.policy.SanitizeBytes(b.Bytes())), nil //nolint:gosec // sanitized
}

var struck = regexp.MustCompile(`(?s)<del>.*?</del>`)

// firstParagraph returns the plain text of the first paragraph without what is struck out, shortened at a word to about limit bytes.
func (m *markdown) firstParagraph(source string, limit int) string {
	html, err := m.html(source)
	if err != nil {
		return ""
	}
	s := string(html)
	if i := strings.Index(s, "<p>"); i >= 0 {
		s = s[i:]
	}
	if i := strings.Index(s, "</p>"); i >= 0 {
		s = s[:i]
	}
	s = struck.ReplaceAllString(s, "")
	s = stdhtml.UnescapeString(m.plain.Sanitize(s))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	cut := strings.LastIndexByte(s[:limit], ' ')
	if cut < 0 {
		cut = limit
		for cut > 0 && s[cut]&0xC0 == 0x80 { // never in the middle of a rune
			cut--
		}
	}
	return s[:cut] + "…"
}
