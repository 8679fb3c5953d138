package slo

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// metricSourceType is the type of metric source that means headroom's own requests.
const metricSourceType = "headroom"

// The bounds of a selector. They keep the patterns that ClickHouse compiles far below what it refuses, as a view that
// throws would block the ingest of requests.
const (
	maxPatterns    = 64
	maxPatternLen  = 200 // bytes
	maxThreshold   = time.Hour
	minThreshold   = time.Microsecond
	maxSelectorLen = 128 // bytes of a product or a service
)

type indicator struct {
	kind      Kind
	threshold time.Duration
	selector  Selector
}

// readIndicator reads the spec of an SLI: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec}}}}.
// The source computes the ratio of good to all requests itself, which is what OpenSLO calls raw.
func readIndicator(spec node) indicator {
	f := spec.fields("description", "thresholdMetric", "ratioMetric")
	f["description"].limited(1050)
	if t := f["thresholdMetric"]; t.present() {
		t.fail("", "is not supported yet: use ratioMetric.raw and write threshold, such as 500ms, in the metricSource's spec")
		return indicator{}
	}
	ratio := spec.required(f, "ratioMetric", "{rawType: success, raw: {metricSource: {type: headroom, spec: …}}}")
	rf := ratio.fields("counter", "good", "bad", "total", "rawType", "raw")
	for _, name := range []string{"good", "bad", "total"} {
		if rf[name].present() {
			rf[name].fail("", "is not supported yet: headroom knows which requests are good; use raw with rawType: success")
			return indicator{}
		}
	}
	rf["counter"].boolean(false)
	if t := ratio.required(rf, "rawType", "write rawType: success"); t.present() && t.str() != "success" {
		t.fail(t.str(), "must be success: headroom counts good requests")
	}
	raw := ratio.required(rf, "raw", "{metricSource: {type: headroom, spec: …}}")
	mf := raw.fields("metricSource")
	source := raw.required(mf, "metricSource", "{type: headroom, spec: …}")
	sf := source.fields("type", "metricSourceRef", "spec")
	if r := sf["metricSourceRef"]; r.present() {
		r.fail(r.text(), "is not supported: write type: headroom in its place")
	}
	if t := source.required(sf, "type", "write type: headroom"); t.present() && t.str() != metricSourceType {
		t.fail(t.str(), "must be headroom: other sources cannot be read")
	}
	return readSelector(source.required(sf, "spec", "which requests count, for example {product: shop}"))
}

func readSelector(n node) indicator {
	f := n.fields("product", "service", "routes", "excludeRoutes", "methods", "excludeStatuses", "threshold")
	i := indicator{kind: Availability}
	i.selector.Product = n.required(f, "product", "the service.namespace of the requests").label()
	i.selector.Service = f["service"].label()
	i.selector.Routes = f["routes"].patterns()
	i.selector.ExcludeRoutes = f["excludeRoutes"].patterns()
	for _, p := range i.selector.ExcludeRoutes {
		if strings.Trim(p, "*") == "" && p != "" {
			f["excludeRoutes"].fail(p, "excludes every request")
		}
	}
	i.selector.Methods = readMethods(f["methods"])
	i.selector.ExcludeStatuses = readStatuses(f["excludeStatuses"])
	if t, ok := f["threshold"]; ok {
		i.kind, i.threshold = Latency, readThreshold(t)
	}
	return i
}

// label reads a product or a service.
func (n node) label() string {
	s := n.str()
	switch {
	case !n.present():
	case s == "" && n.what() == "a string":
		n.fail("", "must not be empty")
	case len(s) > maxSelectorLen:
		n.fail(s, "is longer than %d bytes", maxSelectorLen)
	case !printable(s):
		n.fail(s, "has a control character or is not UTF-8")
	case strings.Contains(s, "*"):
		n.fail(s, "must be one name: only routes take patterns")
	}
	return s
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// patterns reads routes, each exact or with * for any run of characters.
func (n node) patterns() []string {
	out := n.strs()
	if n.present() && len(out) == 0 {
		n.fail("", "must not be empty: leave it out to select all routes")
	}
	if len(out) > maxPatterns {
		n.fail("", "has %d members, more than %d: use patterns such as /api/*", len(out), maxPatterns)
	}
	for _, p := range out {
		switch {
		case len(p) > maxPatternLen:
			n.fail(p, "a route longer than %d bytes", maxPatternLen)
		case !printable(p):
			n.fail(p, "a route with a control character, or not UTF-8")
		case strings.ContainsAny(p, "^$") || strings.Contains(p, ".*"):
			n.fail(p, "a route is no regular expression: only * is special and stands for any run of characters")
		}
	}
	return out
}

var methodPattern = regexp.MustCompile(`^[A-Z][A-Z_-]{0,31}$`)

func readMethods(n node) []string {
	out := n.strs()
	for _, m := range out {
		if !methodPattern.MatchString(m) {
			hint := ""
			if up := strings.ToUpper(m); methodPattern.MatchString(up) {
				hint = ", for example " + up
			}
			n.fail(m, "must be a method in capital letters%s", hint)
		}
	}
	if len(out) > maxPatterns {
		n.fail("", "has %d members, more than %d", len(out), maxPatterns)
	}
	return out
}

func readStatuses(n node) []uint16 {
	list := n.list()
	out := make([]uint16, 0, len(list))
	for _, m := range list {
		s, err := strconv.ParseUint(m.str(), 10, 16)
		if err != nil || s < 100 || s > 599 {
			m.fail(m.text(), "must be an HTTP status from 100 to 599")
			continue
		}
		out = append(out, uint16(s))
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func readThreshold(n node) time.Duration {
	s := n.str()
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		hint := "must be a duration such as 300ms or 1.5s"
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			hint = "needs a unit: " + s + "ms or " + s + "s"
		}
		n.fail(s, "%s", hint)
	case d < minThreshold:
		n.fail(s, "is impossible: no request is as fast as that; the least is 1µs")
	case d > maxThreshold:
		n.fail(s, "is impossible to miss: the most is 1h")
	}
	return d
}
