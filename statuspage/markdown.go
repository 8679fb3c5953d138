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

// newMarkdown returns a renderer whose headings begin at level, so that they go on from the page's own.
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
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering {
			h.Level = min(6, h.Level+d.level-1)
		}
		return ast.WalkContinue, nil
	})
}

// html renders source.
func (m *markdown) html(source string) (template.HTML, error) {
	var b bytes.Buffer
	if err := m.md.Convert([]byte(source), &b); err != nil {
		return "", fmt.Errorf("cannot render Markdown: %w", err)
	}
	return template.HTML(m.policy.SanitizeBytes(b.Bytes())), nil //nolint:gosec // sanitized
}

// firstParagraph returns the plain text of the first paragraph, shortened at a word to about limit bytes.
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
