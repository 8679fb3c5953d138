package slo

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// alertPolicies reads the alert policies of an SLO, which stand inline, by alertPolicyRef or as bare names. Each of their
// conditions is one pair of windows. An empty list means no alerts.
func (r *resolver) alertPolicies(n node, period time.Duration) []BurnWindow {
	windows := []BurnWindow{}
	add := func(spec node) {
		for _, c := range r.alertPolicy(spec) {
			if w, ok := c.within(period); ok {
				windows = append(windows, w)
			}
		}
	}
	for _, p := range n.list() {
		if _, name := p.value.(*ast.StringNode); name {
			if o := r.find("AlertPolicy", p); o != nil {
				add(o.spec)
			}
			continue
		}
		f := p.fields("alertPolicyRef", "apiVersion", "kind", "metadata", "spec")
		if ref := f["alertPolicyRef"]; ref.present() {
			if o := r.find("AlertPolicy", ref); o != nil {
				add(o.spec)
			}
			continue
		}
		if k := f["kind"]; k.present() && k.str() != "AlertPolicy" {
			k.fail(k.str(), "must be AlertPolicy")
		}
		if m := f["metadata"]; m.present() {
			readMetadata(m)
		}
		add(p.required(f, "spec", "the policy, or name one with alertPolicyRef"))
	}
	return windows
}

// condition is a pair of windows with the places that its mistakes are reported at.
type condition struct {
	BurnWindow
	long node
}

// within reports a long window that the SLO's own window cannot hold.
func (c condition) within(period time.Duration) (BurnWindow, bool) {
	if c.Long > period {
		c.long.fail(c.long.text(), "is longer than the SLO's window of %s", Shorthand(period))
		return c.BurnWindow, false
	}
	return c.BurnWindow, true
}

// alertPolicy reads the spec of an AlertPolicy. Where alerts go is not its matter here: notificationTargets are passed
// over.
func (r *resolver) alertPolicy(spec node) []condition {
	f := spec.fields("description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets")
	f["description"].limited(1050)
	f["alertWhenResolved"].boolean(true)
	if n := f["alertWhenNoData"]; n.boolean(false) {
		n.fail("true", "is not supported yet: leave it out")
	}
	if n := f["alertWhenBreaching"]; !n.boolean(true) {
		n.fail("false", "must be true: a policy that does not alert is one to leave out")
	}
	f["notificationTargets"].list()
	conditions := spec.required(f, "conditions", "a list of burn rates and windows")
	list := conditions.list()
	if conditions.present() && len(list) == 0 {
		conditions.fail("", "must not be empty")
	}
	var out []condition
	for _, c := range list {
		cf := c.fields("conditionRef", "apiVersion", "kind", "metadata", "spec")
		body := cf["spec"]
		if ref := cf["conditionRef"]; ref.present() {
			o := r.find("AlertCondition", ref)
			if o == nil {
				continue
			}
			body = o.spec
		} else {
			if k := cf["kind"]; k.present() && k.str() != "AlertCondition" {
				k.fail(k.str(), "must be AlertCondition")
			}
			if m := cf["metadata"]; m.present() {
				readMetadata(m)
			}
			c.required(cf, "spec", "the condition, or name one with conditionRef")
		}
		if w, ok := readCondition(body); ok {
			out = append(out, w)
		}
	}
	return out
}

// readCondition reads the spec of an AlertCondition. alertAfter, the time that a condition must hold, is the short
// window: the budget must have burnt as fast over that time too. Without it the short window is a twelfth of the long.
func readCondition(spec node) (condition, bool) {
	f := spec.fields("description", "severity", "condition")
	f["description"].limited(1050)
	c := condition{}
	severity := spec.required(f, "severity", "page or ticket")
	switch s := Severity(severity.str()); {
	case s == Page || s == Ticket:
		c.Severity = s
	case severity.present():
		severity.fail(string(s), "must be page, which wakes somebody, or ticket, which waits for the morning")
	}
	body := spec.required(f, "condition", "{kind: burnrate, op: gte, threshold, lookbackWindow}")
	cf := body.fields("kind", "op", "threshold", "lookbackWindow", "alertAfter")
	if k := cf["kind"]; k.present() && k.str() != "burnrate" {
		k.fail(k.str(), "must be burnrate")
	}
	if op := cf["op"]; op.present() && op.str() != "gte" && op.str() != "gt" {
		op.fail(op.str(), "must be gte: an alert is for a budget that burns faster than the threshold")
	}
	threshold := body.required(cf, "threshold", "how many times too fast the budget burns, such as 14.4")
	if threshold.present() {
		if t, ok := threshold.decimal(); ok {
			if c.Factor, _ = t.Float64(); c.Factor <= 0 || c.Factor > 100_000 {
				threshold.fail(threshold.text(), "must be above 0 and at most 100000")
				return c, false
			}
		}
	}
	c.long = body.required(cf, "lookbackWindow", "the long window, such as 1h")
	var longOK bool
	if c.Long, longOK = c.long.shorthand(); longOK && c.Long < 2*time.Minute {
		c.long.fail(c.long.text(), "must be 2m or more: counts are kept by the minute")
		longOK = false
	}
	short := cf["alertAfter"]
	if !short.present() {
		c.Short = max(time.Minute, (c.Long / 12).Round(time.Minute))
	} else if s, ok := short.shorthand(); ok {
		switch c.Short = s; {
		case s < time.Minute:
			short.fail(short.text(), "must be 1m or more; leave it out for a twelfth of the lookbackWindow")
		case longOK && s >= c.Long:
			short.fail(short.text(), "must be shorter than the lookbackWindow %s", Shorthand(c.Long))
		}
	}
	return c, longOK && c.Factor > 0 && c.Severity != "" && c.Short > 0 && c.Short < c.Long
}
