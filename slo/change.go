package slo

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Action is what applying a definition did.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
)

// Change is what applying did, or would do, to one SLO.
type Change struct {
	Name     string
	Action   Action
	Revision uint32 // that the SLO has afterwards
	Restarts bool   // what is counted changed: the budget starts afresh
	Fields   []FieldChange
}

// FieldChange is one changed value, as people write it. Old is empty for what was not there, New for what is gone.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Changes are what applying did, or would do, in the order of the definitions.
type Changes struct {
	SLOs []Change
	// Deferred says that the definitions are stored, but counting by them begins only when ClickHouse answers again.
	Deferred bool
}

// Any reports whether anything changed.
func (c Changes) Any() bool {
	return slices.ContainsFunc(c.SLOs, func(c Change) bool { return c.Action != Unchanged })
}

// diff returns the values in which two definitions differ. A nil old is a new SLO.
func diff(old, new *Definition) []FieldChange {
	var before map[string]string
	if old != nil {
		before = old.values()
	}
	after := new.values()
	var out []FieldChange
	for _, f := range slices.Sorted(maps.Keys(after)) {
		if before[f] != after[f] {
			out = append(out, FieldChange{Field: f, Old: before[f], New: after[f]})
		}
	}
	for _, f := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[f]; !ok {
			out = append(out, FieldChange{Field: f, Old: before[f]})
		}
	}
	return out
}

func (d *Definition) windowValue() string {
	if c := d.Calendar; c != nil {
		return fmt.Sprintf("%d%s from %s, %s", c.Count, c.Unit, c.Start, c.TimeZone)
	}
	return Shorthand(d.Window)
}

// values returns what a definition says, each value as people write it. Empty values are left out.
func (d *Definition) values() map[string]string {
	v := map[string]string{
		"title": d.Title, "description": d.Description, "kind": string(d.Kind), "target": d.Target.String(),
		"window": d.windowValue(), "product": d.Selector.Product, "service": d.Selector.Service,
		"routes": strings.Join(d.Selector.Routes, ", "), "excludeRoutes": strings.Join(d.Selector.ExcludeRoutes, ", "),
		"methods": strings.Join(d.Selector.Methods, ", "), "confidence": strconv.FormatFloat(d.Policy.Confidence, 'f', -1, 64),
	}
	if d.Threshold > 0 {
		v["threshold"] = d.Threshold.String()
	}
	statuses := make([]string, len(d.Selector.ExcludeStatuses))
	for i, s := range d.Selector.ExcludeStatuses {
		statuses[i] = strconv.Itoa(int(s))
	}
	v["excludeStatuses"] = strings.Join(statuses, ", ")
	for p, t := range d.TargetsByPlan {
		v["targetsByPlan."+string(p)] = t.String()
	}
	for id, t := range d.TargetsByTenant {
		v["targetsByTenant."+string(id)] = t.String()
	}
	windows := make([]string, len(d.Policy.Windows))
	for i, w := range d.Policy.Windows {
		windows[i] = fmt.Sprintf("%s %s× over %s and %s", w.Severity, number(w.Factor), Shorthand(w.Long), Shorthand(w.Short))
	}
	v["alerts"] = strings.Join(windows, "; ")
	maps.DeleteFunc(v, func(_, s string) bool { return s == "" })
	return v
}
