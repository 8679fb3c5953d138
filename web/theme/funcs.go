package theme

import (
	"fmt"
	"html/template"
)

// Funcs returns the functions for html/template: those of format.go and time.go under short names, and glyph, icon
// and dict. Each call returns a new map, so a page may add its own.
func Funcs() template.FuncMap {
	return template.FuncMap{
		"num": Num, "pct": Pct, "ratio": Ratio, "avail": Availability, "budget": Budget, "burn": Burn, "ms": Millis,
		"count": Count, "dur": Duration, "ago": Ago, "clock": Clock, "day": Day, "stamp": Stamp, "iso": ISO,
		"glyph": Glyph, "icon": Icon, "dict": dict,
	}
}

// tone is the class that colours a glyph.
func tone(name string) string {
	switch name {
	case "page", "major":
		return "bad"
	case "ticket":
		return "warn"
	case "partial":
		return "part"
	case "fine":
		return "good"
	case "planned":
		return "maint"
	case "neighbour":
		return "suspect"
	}
	return "faint" // watching, nodata, acked
}

// Glyph returns a severity's shape in its colour. Names: page and major (octagon), partial (diamond), ticket
// (triangle), watching (ring), fine (circle with a tick), planned (square), nodata (dashed ring), acked, neighbour.
// With a label it is an image of that name; with an empty one it is hidden from screen readers, so a word must stand
// beside it. Classes such as small or large may follow.
func Glyph(name, label string, classes ...string) template.HTML {
	return svg("g "+tone(name), "g-"+name, label, classes)
}

// Icon returns a line icon without an accessible name: what it stands in must have one.
func Icon(name string, classes ...string) template.HTML { return svg("i", "i-"+name, "", classes) }

func svg(class, symbol, label string, classes []string) template.HTML {
	for _, c := range classes {
		class += " " + c
	}
	name := `aria-hidden="true"`
	if label != "" {
		name = `role="img" aria-label="` + template.HTMLEscapeString(label) + `"`
	}
	return template.HTML(fmt.Sprintf(`<svg class="%s" %s><use href="#%s"/></svg>`, //nolint:gosec // parts escaped here
		template.HTMLEscapeString(class), name, template.HTMLEscapeString(symbol)))
}

// dict makes a map of names and values in turn, to hand several values to a nested template.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("cannot make a dict of %d arguments: want names and values in turn", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("cannot make a dict: argument %d is %T, want a name", i, pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}
