package slo

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// objective is a row of ClickHouse's slo_objectives: what the rollup needs to know of an SLO.
type objective struct {
	SLO             string   `ch:"slo"`
	Generation      uint64   `ch:"generation"`
	Active          bool     `ch:"active"`
	Revision        uint32   `ch:"revision"`
	Product         string   `ch:"product"`
	Service         string   `ch:"service"`
	RouteRegexp     string   `ch:"route_regexp"`
	ExcludeRegexp   string   `ch:"exclude_regexp"`
	Methods         []string `ch:"methods"`
	ExcludeStatuses []uint16 `ch:"exclude_statuses"`
	ThresholdNs     uint64   `ch:"threshold_ns"`
}

func newObjective(d *Definition) objective {
	o := objective{
		SLO: d.Name, Active: true, Revision: d.SLIRevision, Product: d.Selector.Product, Service: d.Selector.Service,
		RouteRegexp: routeRegexp(d.Selector.Routes), ExcludeRegexp: routeRegexp(d.Selector.ExcludeRoutes),
		Methods: d.Selector.Methods, ExcludeStatuses: d.Selector.ExcludeStatuses, ThresholdNs: math.MaxUint64,
	}
	if d.Kind == Latency {
		o.ThresholdNs = uint64(d.Threshold)
	}
	return o
}

// routeRegexp returns an anchored RE2 expression for routes in which * stands for any run of characters, and "" for no
// routes. Everything else is quoted, so ClickHouse can always compile it.
func routeRegexp(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	alternatives := make([]string, len(patterns))
	for i, p := range patterns {
		parts := strings.Split(p, "*")
		for j, s := range parts {
			parts[j] = regexp.QuoteMeta(s)
		}
		alternatives[i] = strings.Join(parts, ".*")
	}
	return `^(?s:` + strings.Join(alternatives, "|") + `)$`
}

// check refuses what Parse would have refused and a view could not bear: definitions may come from code as well.
func (d *Definition) check() error {
	switch {
	case !namePattern.MatchString(d.Name):
		return fmt.Errorf("cannot use SLO %q: it is not a valid name", d.Name)
	case d.Selector.Product == "":
		return fmt.Errorf("cannot use SLO %q: it selects no product", d.Name)
	case d.Kind != Availability && d.Kind != Latency:
		return fmt.Errorf("cannot use SLO %q: unknown kind %q", d.Name, d.Kind)
	case (d.Kind == Latency) != (d.Threshold > 0):
		return fmt.Errorf("cannot use SLO %q: kind %q with threshold %s", d.Name, d.Kind, d.Threshold)
	case d.Target == 0 || d.Target >= One:
		return fmt.Errorf("cannot use SLO %q: target %s", d.Name, d.Target)
	case d.Calendar != nil && (d.Calendar.check() != nil || d.Window != d.Calendar.nominal()):
		return fmt.Errorf("cannot use SLO %q: calendar %+v with window %s", d.Name, *d.Calendar, d.Window)
	case d.Window < minWindow || d.Window > maxWindow+day:
		return fmt.Errorf("cannot use SLO %q: window %s", d.Name, d.Window)
	}
	for _, p := range slices.Concat(d.Selector.Routes, d.Selector.ExcludeRoutes) {
		if len(p) > maxPatternLen || !printable(p) {
			return fmt.Errorf("cannot use SLO %q: route %.80q", d.Name, p)
		}
	}
	if len(d.Selector.Routes) > maxPatterns || len(d.Selector.ExcludeRoutes) > maxPatterns {
		return fmt.Errorf("cannot use SLO %q: more than %d routes", d.Name, maxPatterns)
	}
	return nil
}

// normalize puts lists whose order means nothing in order, so that writing them otherwise is no change.
func (d *Definition) normalize() {
	s := &d.Selector
	for _, list := range []*[]string{&s.Routes, &s.ExcludeRoutes, &s.Methods} {
		sorted := slices.Clone(*list)
		slices.Sort(sorted)
		*list = slices.Compact(sorted)
	}
	statuses := slices.Clone(s.ExcludeStatuses)
	slices.Sort(statuses)
	s.ExcludeStatuses = slices.Compact(statuses)
}

// sameSLI reports whether two definitions count the same requests and call the same ones good, so that the counts of one
// serve the other.
func (d *Definition) sameSLI(other *Definition) bool {
	return d.Kind == other.Kind && d.Threshold == other.Threshold && equalJSON(d.Selector, other.Selector)
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
