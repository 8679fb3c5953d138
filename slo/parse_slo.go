package slo

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/nexis-limited/headroom/tenant"
)

// What OpenSLO has no field for stands in annotations of the SLO, whose values are strings.
const (
	annotationPrefix = "headroom/"
	byPlan           = annotationPrefix + "targetsByPlan"
	byTenant         = annotationPrefix + "targetsByTenant"
	confidence       = annotationPrefix + "confidence"
)

var annotations = []string{byPlan, byTenant, confidence}

// The bounds of a rolling window. Longer ones would outlive the per-minute counts (see migration 00002_sli).
const (
	defaultWindow = 30 * day
	minWindow     = 7 * day
	maxWindow     = 90 * day
	day           = 24 * time.Hour
)

// resolver reads SLOs together with the objects that they refer to.
type resolver struct{ objects map[objectKey]*object }

func (r *resolver) find(kind string, ref node) *object {
	name := ref.str()
	if o, ok := r.objects[objectKey{kind, name}]; ok {
		o.referred = true
		return o
	}
	if name != "" {
		known := []string{}
		for k := range r.objects {
			if k.kind == kind {
				known = append(known, k.name)
			}
		}
		slices.Sort(known)
		hint := ": none is defined here"
		if len(known) > 0 {
			hint = didYouMean(name, known)
		}
		ref.fail(name, "there is no %s of this name%s", kind, hint)
	}
	return nil
}

// unreferred reads an object that no SLO refers to, for its mistakes.
func (r *resolver) unreferred(o *object) {
	switch {
	case o.referred:
	case o.key.kind == "SLI":
		readIndicator(o.spec)
	case o.key.kind == "AlertPolicy":
		r.alertPolicy(o.spec)
	case o.key.kind == "AlertCondition":
		readCondition(o.spec)
	case o.key.kind == "Service":
		o.spec.fields("description")
	}
}

// slo reads one SLO. The definition is of use only when no mistake was reported.
func (r *resolver) slo(o *object) Definition {
	d := Definition{Name: o.key.name, Title: o.displayName, Window: defaultWindow}
	if d.Title == "" {
		d.Title = d.Name
	}
	fields := o.spec.fields("description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod",
		"objectives", "alertPolicies")
	d.Description = fields["description"].limited(1050)
	o.spec.required(fields, "service", "the name of the Service that the SLO belongs to").limited(253)
	if m := fields["budgetingMethod"]; m.present() && m.str() != "Occurrences" {
		if s := m.str(); s == "Timeslices" || s == "RatioTimeslices" {
			m.fail(s, "is not supported yet: use Occurrences")
		} else {
			m.fail(s, "must be Occurrences")
		}
	}
	r.indicator(&d, o.spec, fields)
	windowOK := readTimeWindow(&d, fields["timeWindow"])
	targets := readTargets(&d, o, fields)
	if c, ok := o.annotations[confidence]; ok {
		d.Policy.Confidence = readConfidence(c)
	} else {
		d.Policy.Confidence = DefaultConfidence
	}
	if !windowOK {
		return d
	}
	if p, ok := fields["alertPolicies"]; ok && p.present() {
		d.Policy.Windows = r.alertPolicies(p, d.Window)
	} else {
		d.Policy.Windows = DefaultWindows(d.Window)
	}
	for _, t := range targets {
		checkCanFire(t, d.Policy.Windows)
	}
	return d
}

func (r *resolver) indicator(d *Definition, spec node, fields map[string]node) {
	inline, ref := fields["indicator"], fields["indicatorRef"]
	var sli indicator
	switch {
	case inline.present() && ref.present():
		ref.fail(ref.text(), "cannot stand beside indicator: keep one of them")
		return
	case inline.present():
		f := inline.fields("metadata", "spec", "kind", "apiVersion")
		if m := f["metadata"]; m.present() {
			readMetadata(m)
		}
		sli = readIndicator(inline.required(f, "spec", "it says which requests count"))
	case ref.present():
		if o := r.find("SLI", ref); o != nil {
			sli = readIndicator(o.spec)
		}
	case fields != nil:
		spec.required(fields, "indicator", "write the SLI here, or its name in indicatorRef")
	}
	d.Kind, d.Threshold, d.Selector = sli.kind, sli.threshold, sli.selector
}

// readTimeWindow reports whether the window may be used to judge what depends on it.
func readTimeWindow(d *Definition, n node) bool {
	list := n.list()
	if !n.present() {
		return true
	}
	if len(list) != 1 {
		if list != nil {
			n.fail("", "must have exactly one member, it has %d", len(list))
		}
		return false
	}
	f := list[0].fields("duration", "isRolling", "calendar")
	if f["calendar"].present() || !f["isRolling"].boolean(true) {
		return readCalendar(d, list[0], f)
	}
	duration := list[0].required(f, "duration", "for example 30d")
	w, ok := duration.shorthand()
	if !ok {
		return false
	}
	if w < minWindow || w > maxWindow || w%day != 0 {
		duration.fail(duration.str(), "must be whole days from 7d to 90d")
		return false
	}
	d.Window = w
	return true
}

// target is a target with the place where it was written.
type target struct {
	node
	ppm PPM
}

// readTargets reads the objective and the annotations with other targets. It returns those that are valid.
func readTargets(d *Definition, o *object, fields map[string]node) []target {
	var all []target
	objectives := o.spec.required(fields, "objectives", "a list with one target, such as {targetPercent: 99.9}")
	switch list := objectives.list(); {
	case len(list) > 1:
		list[1].fail("", "more than one objective is not supported yet: write an SLO for each")
	case len(list) == 0 && objectives.present():
		objectives.fail("", "must have one member with a target")
	case len(list) == 1:
		if t, ok := readObjective(list[0]); ok {
			d.Target = t.ppm
			all = append(all, t)
		}
	}
	for key, t := range nestedTargets(o.annotations[byPlan]) {
		plan, err := tenant.ParsePlan(key)
		if err != nil {
			t.fail(key, "unknown plan%s", didYouMean(key, planNames()))
			continue
		}
		if d.TargetsByPlan == nil {
			d.TargetsByPlan = map[tenant.Plan]PPM{}
		}
		if t.ppm > 0 {
			d.TargetsByPlan[plan] = t.ppm
			all = append(all, t)
		}
	}
	for key, t := range nestedTargets(o.annotations[byTenant]) {
		id, err := tenant.ParseID(key)
		if err != nil || id == tenant.Untagged {
			t.fail(key, "is not a tenant id: 1 to %d bytes without control characters", tenant.MaxIDLen)
			continue
		}
		if d.TargetsByTenant == nil {
			d.TargetsByTenant = map[tenant.ID]PPM{}
		}
		if t.ppm > 0 {
			d.TargetsByTenant[id] = t.ppm
			all = append(all, t)
		}
	}
	return all
}

func planNames() []string {
	var names []string
	for _, p := range tenant.Plans() {
		names = append(names, string(p))
	}
	return names
}

func readObjective(n node) (target, bool) {
	f := n.fields("displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow",
		"compositeWeight", "indicator", "indicatorRef")
	for _, name := range []string{"timeSliceTarget", "timeSliceWindow", "compositeWeight", "indicator", "indicatorRef"} {
		if f[name].present() {
			f[name].fail("", "is not supported yet")
		}
	}
	for _, name := range []string{"op", "value"} {
		if f[name].present() {
			f[name].fail(f[name].text(), "goes with thresholdMetric, which is not supported yet: write threshold in the metricSource's spec")
		}
	}
	share, percent := f["target"], f["targetPercent"]
	switch {
	case share.present() && percent.present():
		percent.fail(percent.text(), "cannot stand beside target: keep one of them")
	case share.present():
		ppm, ok := share.ppm(1)
		return target{share, ppm}, ok
	case percent.present():
		ppm, ok := percent.ppm(100)
		return target{percent, ppm}, ok
	case f != nil:
		n.required(f, "target", "for example target: 0.999, or targetPercent: 99.9")
	}
	return target{}, false
}

// nestedTargets reads the YAML mapping from names to percentages that an annotation holds as a string. A mapping in
// place of the string is taken too. Targets that are not valid come with 0.
func nestedTargets(n node) map[string]target {
	if !n.present() {
		return nil
	}
	mapping := n
	if s := n.str0(); s != nil {
		doc := *n.doc
		if doc.pinned = n.line; s.literal {
			doc.pinned, doc.offset = 0, n.line
		}
		parsed, err := parser.ParseBytes([]byte(s.text), 0)
		if err != nil || len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
			n.fail(s.text, "must hold a mapping such as {name: 99.95}")
			return nil
		}
		doc.anchors = nil
		mapping = newNode(&doc, parsed.Docs[0].Body, n.path, 0)
		mapping.path = n.path
	}
	switch mapping.value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		n.fail(n.text(), "must hold a mapping such as {name: 99.95}")
		return nil
	}
	out := map[string]target{}
	for name, f := range mapping.fields() {
		ppm, _ := f.ppm(100)
		out[name] = target{f, ppm}
	}
	return out
}

type rawString struct {
	text    string
	literal bool // its lines stand below the key's
}

// str0 returns a string and how it was written, nil for all other values.
func (n node) str0() *rawString {
	switch v := n.value.(type) {
	case *ast.StringNode:
		return &rawString{text: v.Value}
	case *ast.LiteralNode:
		return &rawString{text: v.Value.Value, literal: strings.HasPrefix(v.Start.Value, "|")}
	}
	return nil
}

// checkCanFire reports a target at which an alert can never fire, however much fails.
func checkCanFire(t target, windows []BurnWindow) {
	var worst *BurnWindow
	for i, w := range windows {
		if !w.canFire(t.ppm) && (worst == nil || w.Factor > worst.Factor) {
			worst = &windows[i]
		}
	}
	if worst == nil {
		return
	}
	t.fail(t.text(), "the %s alert over %s can never fire: %s × (1 − %s) is %s: use %s or more", worst.Severity,
		Shorthand(worst.Long), number(worst.Factor), share(t.ppm), percent(worst.Factor*(1-t.ppm.Fraction())),
		lowestTarget(worst.Factor))
}

func share(p PPM) string {
	s := strings.TrimRight(fmt.Sprintf("0.%06d", p), "0")
	for len(s) < len("0.90") {
		s += "0"
	}
	return s
}
