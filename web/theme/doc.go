// Package theme is what the console and the public pages look like together: colour tokens for light and dark, base
// styles, small parts (buttons, tags, tables, meters, callouts), the glyphs that tell severities apart by shape, and
// the template functions that write numbers and times the same way everywhere.
//
// It owns no page and no route: a feature serves CSS from an address of its own and puts Sprite at the start of each
// body. Nothing in it needs script or inline styles, so a Content-Security-Policy of default-src 'none' holds. It
// imports the standard library only and may be imported by every feature that renders HTML.
package theme

import (
	_ "embed"
	"html/template"
)

// CSS is the shared stylesheet: tokens as custom properties, base elements and parts. A page's own styles come after.
//
//go:embed theme.css
var CSS []byte

//go:embed sprite.svg
var sprite string

// Sprite holds the symbols that glyph and icon refer to, and the hatch patterns. It belongs into each page once,
// right after <body>.
var Sprite = template.HTML(sprite) //nolint:gosec // our own file
