package slo

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

func TestParse(t *testing.T) {
	f := func(src string, want ...Definition) {
		t.Helper()
		got, err := Parse("f.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	policy := Policy{Windows: DefaultWindows(30 * day), Confidence: 0.99}
	f(yamlSLO("pay", "99.95"), Definition{
		Name: "pay", Title: "pay", Kind: Availability, Selector: Selector{Product: "shop"}, Target: 999_500, Window: 30 * day, Policy: policy,
	})
	f(`{"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "pay"}, "spec": {"service": "shop",
		"objectives": [{"target": 0.9995}], "indicator": {"spec": {"ratioMetric": {"rawType": "success", "raw": {"metricSource":
		{"type": "headroom", "spec": {"product": "shop"}}}}}}}}`, Definition{
		Name: "pay", Title: "pay", Kind: Availability, Selector: Selector{Product: "shop"}, Target: 999_500, Window: 30 * day, Policy: policy,
	})
	f(`
apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {description: The shop}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: fast-checkouts, labels: {team: [a, b]}}
spec:
  ratioMetric:
    counter: true
    rawType: success
    raw:
      metricSource:
        type: headroom
        spec:
          product: shop
          service: checkout
          routes: [/checkout, /pay/*]
          excludeRoutes: ["*/health"]
          methods: [POST]
          excludeStatuses: [404, 429]
          threshold: 1.5s
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast-burn}
spec:
  severity: page
  condition: {kind: burnrate, op: gte, threshold: 10, lookbackWindow: 2h, alertAfter: 7m}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: fast-burn}]
  notificationTargets: [{targetRef: on-call}]
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout-latency
  displayName: Checkout latency
  annotations:
    example.com/owner: shop-team
    headroom/confidence: "0.95"
    headroom/targetsByPlan: |
      enterprise: 99.5
      professional: 99
    headroom/targetsByTenant: "{acme: 99.9, 'o''neill, sons': 99.8}"
spec:
  description: Checkouts are quick.
  service: shop
  indicatorRef: fast-checkouts
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: most
      targetPercent: 98
  alertPolicies:
    - alertPolicyRef: fast
    - kind: AlertPolicy
      metadata: {name: slow}
      spec:
        conditions:
          - kind: AlertCondition
            metadata: {name: slow-burn}
            spec:
              severity: ticket
              condition: {kind: burnrate, op: gt, threshold: 2, lookbackWindow: 1d}
`, Definition{
		Name: "checkout-latency", Title: "Checkout latency", Description: "Checkouts are quick.", Kind: Latency,
		Threshold: 1500 * time.Millisecond, Target: 980_000, Window: 28 * day,
		Selector: Selector{
			Product: "shop", Service: "checkout", Routes: []string{"/checkout", "/pay/*"}, ExcludeRoutes: []string{"*/health"},
			Methods: []string{"POST"}, ExcludeStatuses: []uint16{404, 429},
		},
		TargetsByPlan:   map[tenant.Plan]PPM{tenant.Enterprise: 995_000, tenant.Professional: 990_000},
		TargetsByTenant: map[tenant.ID]PPM{"acme": 999_000, "o'neill, sons": 998_000},
		Policy: Policy{Confidence: 0.95, Windows: []BurnWindow{
			{Long: 2 * time.Hour, Short: 7 * time.Minute, Factor: 10, Severity: Page},
			{Long: day, Short: 2 * time.Hour, Factor: 2, Severity: Ticket},
		}},
	})
	quiet := Definition{
		Name: "pay", Title: "pay", Kind: Availability, Selector: Selector{Product: "shop"}, Target: 999_000, Window: 30 * day,
		Policy: Policy{Windows: []BurnWindow{}, Confidence: 0.99},
	}
	f(strings.Replace(yamlSLO("pay", "99.9"), "spec:\n", "spec:\n  alertPolicies: []\n", 1), quiet)
}

// Each mistake is told with its line, field, value and what to do.
func TestParseMistakes(t *testing.T) {
	valid := yamlSLO("pay", "99.9")
	// f replaces old by new in a valid SLO; with want it tells what must be said of it.
	f := func(old, new string, want ...string) {
		t.Helper()
		if !strings.Contains(valid, old) {
			t.Fatalf("%q is not in the SLO", old)
		}
		_, err := Parse("f.yaml", []byte(strings.Replace(valid, old, new, 1)))
		if err == nil {
			t.Errorf("%s: no mistake was found", new)
			return
		}
		if got, want := err.Error(), strings.Join(want, "\n"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const source = "spec.indicator.spec.ratioMetric.raw.metricSource"
	f("apiVersion: openslo/v1", "apiVersion: openslo/v2alpha",
		`f.yaml:2: apiVersion: is a version that is not supported yet: use openslo/v1 (got "openslo/v2alpha")`)
	f("kind: SLO", "kind: Slo", `f.yaml:3: kind: unknown kind; did you mean "SLO"? (got "Slo")`)
	f("kind: SLO", "kidn: SLO", `f.yaml:2: kind: is missing: one of SLO, SLI, Service, AlertPolicy, AlertCondition`,
		`f.yaml:3: kidn: unknown field; did you mean "kind"?`)
	f("name: pay", "name: Pay_1",
		`f.yaml:4: metadata.name: must be 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends, for example pay-1 (got "Pay_1")`)
	f("{name: pay}", "{}", `f.yaml:4: metadata.name: is missing: lower-case letters, digits and hyphens`)
	f("service: shop", "servise: shop", `f.yaml:5: spec.service: is missing: the name of the Service that the SLO belongs to`,
		`f.yaml:6: spec.servise: unknown field; did you mean "service"?`)

	f("targetPercent: 99.9", "targetPercent: 100",
		`f.yaml:7: spec.objectives[0].targetPercent: must be below 100 percent: a target of 100 % leaves no budget and any failure would alert (got "100")`)
	f("targetPercent: 99.9", "target: 99.9",
		`f.yaml:7: spec.objectives[0].target: must be below 1: a target of 100 % leaves no budget and any failure would alert; did you mean targetPercent? (got "99.9")`)
	f("targetPercent: 99.9", "target: 0", `f.yaml:7: spec.objectives[0].target: must be above 0 (got "0")`)
	f("targetPercent: 99.9", "target: -0.5", `f.yaml:7: spec.objectives[0].target: must be above 0 (got "-0.5")`)
	f("targetPercent: 99.9", "targetPercent: 99.99999",
		`f.yaml:7: spec.objectives[0].targetPercent: is more precise than one part in a million: at most 4 decimals of a percent (got "99.99999")`)
	f("targetPercent: 99.9", "target: 0.9999999",
		`f.yaml:7: spec.objectives[0].target: is more precise than one part in a million: at most 6 decimals (got "0.9999999")`)
	f("targetPercent: 99.9", "targetPercent: 99.9%",
		`f.yaml:7: spec.objectives[0].targetPercent: must be a number without the percent sign (got "99.9%")`)
	f("targetPercent: 99.9", "target: high", `f.yaml:7: spec.objectives[0].target: must be a number, such as 99.9 (got "high")`)
	f("targetPercent: 99.9", "target: 0.99, targetPercent: 99", `f.yaml:7: spec.objectives[0].targetPercent: cannot stand beside target: keep one of them (got "99")`)
	f("targetPercent: 99.9", "displayName: x", `f.yaml:7: spec.objectives[0].target: is missing: for example target: 0.999, or targetPercent: 99.9`)
	f("targetPercent: 99.9", "target: 0.9",
		"f.yaml:7: spec.objectives[0].target: the page alert over 1h can never fire: 14.4 × (1 − 0.90) is 144\u202f%: use 93.1\u202f% or more (got \"0.9\")")
	f("targetPercent: 99.9", "targetPercent: 93.0",
		"f.yaml:7: spec.objectives[0].targetPercent: the page alert over 1h can never fire: 14.4 × (1 − 0.93) is 100.8\u202f%: use 93.1\u202f% or more (got \"93.0\")")
	f("[{targetPercent: 99.9}]", "[]", `f.yaml:7: spec.objectives: must have one member with a target`)
	f("[{targetPercent: 99.9}]", "[{target: 0.99}, {target: 0.98}]",
		`f.yaml:7: spec.objectives[1]: more than one objective is not supported yet: write an SLO for each`)
	f("{targetPercent: 99.9}", "{targetPercent: 99.9, op: lte, value: 1, timeSliceWindow: 5m}",
		`f.yaml:7: spec.objectives[0].op: goes with thresholdMetric, which is not supported yet: write threshold in the metricSource's spec (got "lte")`,
		`f.yaml:7: spec.objectives[0].timeSliceWindow: is not supported yet`,
		`f.yaml:7: spec.objectives[0].value: goes with thresholdMetric, which is not supported yet: write threshold in the metricSource's spec (got "1")`)

	annotate := func(s string) string { return "metadata:\n  name: pay\n  annotations:\n" + s }
	f("metadata: {name: pay}", annotate("    headroom/targetsByPlan: |\n      enterprise: 99.99\n      profesional: 99.9\n      starter: 90"),
		`f.yaml:9: metadata.annotations["headroom/targetsByPlan"].profesional: unknown plan; did you mean "professional"? (got "profesional")`,
		"f.yaml:10: metadata.annotations[\"headroom/targetsByPlan\"].starter: the page alert over 1h can never fire: 14.4 × (1 − 0.90) is 144\u202f%: use 93.1\u202f% or more (got \"90\")")
	f("metadata: {name: pay}", annotate("    headroom/targetsByTenant: '{acme: 0.5, \"\": 99}'"),
		`f.yaml:7: metadata.annotations["headroom/targetsByTenant"].: is not a tenant id: 1 to 128 bytes without control characters`,
		"f.yaml:7: metadata.annotations[\"headroom/targetsByTenant\"].acme: the page alert over 1h can never fire: 14.4 × (1 − 0.005) is 1432.8\u202f%: use 93.1\u202f% or more (got \"0.5\")")
	f("metadata: {name: pay}", annotate("    headroom/targetsByTenant: acme"),
		`f.yaml:7: metadata.annotations["headroom/targetsByTenant"]: must hold a mapping such as {name: 99.95} (got "acme")`)
	f("metadata: {name: pay}", annotate("    headroom/targetByTenant: '{acme: 99}'"),
		`f.yaml:7: metadata.annotations["headroom/targetByTenant"]: unknown annotation; did you mean "headroom/targetsByTenant"?`)
	f("metadata: {name: pay}", annotate("    headroom/confidence: '99'"),
		`f.yaml:7: metadata.annotations["headroom/confidence"]: must be from 0.5 to 0.9999, such as 0.99, or 0 for alerts without regard to how few requests there are (got "99")`)

	f("service: shop", "service: shop\n  budgetingMethod: Timeslices", `f.yaml:7: spec.budgetingMethod: is not supported yet: use Occurrences (got "Timeslices")`)
	f("service: shop", "service: shop\n  budgetingMethod: Ocurrences", `f.yaml:7: spec.budgetingMethod: must be Occurrences (got "Ocurrences")`)
	f("service: shop", "service: shop\n  timeWindow: [{duration: 1M}]",
		`f.yaml:7: spec.timeWindow[0].duration: months, quarters and years differ in length: use days, such as 30d, or a timeWindow with a calendar (got "1M")`)
	f("service: shop", "service: shop\n  timeWindow: [{duration: 3h}]", `f.yaml:7: spec.timeWindow[0].duration: must be whole days from 7d to 90d (got "3h")`)
	f("service: shop", "service: shop\n  timeWindow: [{duration: month}]", `f.yaml:7: spec.timeWindow[0].duration: must be a duration such as 5m, 1h, 30d or 4w (got "month")`)
	f("service: shop", "service: shop\n  timeWindow: [{duration: 30d}, {duration: 7d}]", `f.yaml:7: spec.timeWindow: must have exactly one member, it has 2`)
	calendar := func(duration, start, zone, want string) {
		t.Helper()
		f("service: shop", "service: shop\n  timeWindow:\n  - duration: "+duration+"\n    calendar: {startTime: "+start+", timeZone: "+zone+"}", want)
	}
	f("service: shop", "service: shop\n  timeWindow:\n  - duration: 1M\n    calendar: {timeZone: UTC}",
		`f.yaml:9: spec.timeWindow[0].calendar.startTime: is missing: the beginning of any period, such as 2026-01-01 00:00:00`)
	calendar("30d", "2026-01-01 00:00:00", "UTC", `f.yaml:8: spec.timeWindow[0].duration: must be weeks, months or a quarter beside calendar, such as 1w, 1M or 1Q (got "30d")`)
	calendar("4M", "2026-01-01 00:00:00", "UTC", `f.yaml:8: spec.timeWindow[0].duration: must be from 1M to 3M (got "4M")`)
	calendar("1M", "2026-01-01 00:00:00", "Mars/Olympus", `f.yaml:9: spec.timeWindow[0].calendar.timeZone: is not a time zone: use a name of the IANA database, such as Europe/Berlin (got "Mars/Olympus")`)
	calendar("1M", "January", "UTC", `f.yaml:9: spec.timeWindow[0].calendar.startTime: must be like 2026-01-01 00:00:00 (got "January")`)
	calendar("1M", "2026-01-31 00:00:00", "UTC", `f.yaml:9: spec.timeWindow[0].calendar.startTime: must be on the 1st to 28th: not every month has day 31 (got "2026-01-31 00:00:00")`)
	f("service: shop", "service: shop\n  timeWindow:\n  - duration: 1M\n    isRolling: true\n    calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}",
		`f.yaml:9: spec.timeWindow[0].isRolling: must be false beside calendar: a window either rolls or follows the calendar (got "true")`)

	f("type: headroom", "type: Prometheus", `f.yaml:14: `+source+`.type: must be headroom: other sources cannot be read (got "Prometheus")`)
	f("rawType: success", "rawType: failure", `f.yaml:11: spec.indicator.spec.ratioMetric.rawType: must be success: headroom counts good requests (got "failure")`)
	f("ratioMetric:", "thresholdMetric:",
		`f.yaml:10: spec.indicator.spec.thresholdMetric: is not supported yet: use ratioMetric.raw and write threshold, such as 500ms, in the metricSource's spec`)
	f("raw:\n", "good:\n", `f.yaml:12: spec.indicator.spec.ratioMetric.good: is not supported yet: headroom knows which requests are good; use raw with rawType: success`)
	f("indicator:\n", "indicatorRef: x\n  indicator:\n", `f.yaml:8: spec.indicatorRef: cannot stand beside indicator: keep one of them (got "x")`)

	add := func(s string) string { return "product: shop\n              " + s }
	f("product: shop", "service: shop", `f.yaml:15: `+source+`.spec.product: is missing: the service.namespace of the requests`)
	f("product: shop", `product: ""`, `f.yaml:16: `+source+`.spec.product: must not be empty`)
	f("product: shop", "product: shop*", `f.yaml:16: `+source+`.spec.product: must be one name: only routes take patterns (got "shop*")`)
	f("product: shop", add("route: [/a]"), `f.yaml:17: `+source+`.spec.route: unknown field; did you mean "routes"?`)
	f("product: shop", add("routes: []"), `f.yaml:17: `+source+`.spec.routes: must not be empty: leave it out to select all routes`)
	f("product: shop", add("routes: ['^/a.*$']"),
		`f.yaml:17: `+source+`.spec.routes: a route is no regular expression: only * is special and stands for any run of characters (got "^/a.*$")`)
	f("product: shop", add(`routes: ["/a\tb"]`), `f.yaml:17: `+source+`.spec.routes: a route with a control character, or not UTF-8 (got "/a\tb")`)
	f("product: shop", add("excludeRoutes: ['*']"), `f.yaml:17: `+source+`.spec.excludeRoutes: excludes every request (got "*")`)
	f("product: shop", add("methods: [get]"), `f.yaml:17: `+source+`.spec.methods: must be a method in capital letters, for example GET (got "get")`)
	f("product: shop", add("excludeStatuses: [404, 4xx, 999]"),
		`f.yaml:17: `+source+`.spec.excludeStatuses[1]: must be an HTTP status from 100 to 599 (got "4xx")`,
		`f.yaml:17: `+source+`.spec.excludeStatuses[2]: must be an HTTP status from 100 to 599 (got "999")`)
	f("product: shop", add("threshold: 500"), `f.yaml:17: `+source+`.spec.threshold: needs a unit: 500ms or 500s (got "500")`)
	f("product: shop", add("threshold: 2h"), `f.yaml:17: `+source+`.spec.threshold: is impossible to miss: the most is 1h (got "2h")`)
	f("product: shop", add("threshold: 0s"), `f.yaml:17: `+source+`.spec.threshold: is impossible: no request is as fast as that; the least is 1µs (got "0s")`)
	f("product: shop", add("threshold: fast"), `f.yaml:17: `+source+`.spec.threshold: must be a duration such as 300ms or 1.5s (got "fast")`)

	policy := func(severity, condition string) string {
		return "service: shop\n  alertPolicies:\n  - spec:\n      conditions:\n      - spec:\n          severity: " + severity + "\n          condition: {" + condition + "}"
	}
	const c = "spec.alertPolicies[0].spec.conditions[0].spec."
	f("service: shop", policy("high", "threshold: 2, lookbackWindow: 1h"),
		`f.yaml:11: `+c+`severity: must be page, which wakes somebody, or ticket, which waits for the morning (got "high")`)
	f("service: shop", policy("page", "threshold: 2, lookbackWindow: 1h, alertAfter: 1h"),
		`f.yaml:12: `+c+`condition.alertAfter: must be shorter than the lookbackWindow 1h (got "1h")`)
	f("service: shop", policy("page", "threshold: 2, lookbackWindow: 1h, alertAfter: 30s"),
		`f.yaml:12: `+c+`condition.alertAfter: must be whole minutes, such as 5m (got "30s")`)
	f("service: shop", policy("page", "threshold: 2, lookbackWindow: 1h, alertAfter: 0m"),
		`f.yaml:12: `+c+`condition.alertAfter: must be 1m or more; leave it out for a twelfth of the lookbackWindow (got "0m")`)
	f("service: shop", policy("page", "threshold: 2, lookbackWindow: 90s"),
		`f.yaml:12: `+c+`condition.lookbackWindow: must be whole minutes, such as 5m (got "90s")`)
	f("service: shop", policy("page", "threshold: 2, lookbackWindow: 40d"),
		`f.yaml:12: `+c+`condition.lookbackWindow: is longer than the SLO's window of 30d (got "40d")`)
	f("service: shop", policy("page", "op: lte, threshold: 2, lookbackWindow: 1h"),
		`f.yaml:12: `+c+`condition.op: must be gte: an alert is for a budget that burns faster than the threshold (got "lte")`)
	f("service: shop", policy("page", "threshold: 0, lookbackWindow: 1h"),
		`f.yaml:12: `+c+`condition.threshold: must be above 0 and at most 100000 (got "0")`)
	f("service: shop", policy("page", "threshold: 2000, lookbackWindow: 1h"),
		"f.yaml:13: spec.objectives[0].targetPercent: the page alert over 1h can never fire: 2000 × (1 − 0.999) is 200\u202f%: use 99.96\u202f% or more (got \"99.9\")")
	f("service: shop", "service: shop\n  alertPolicies: [nope]", `f.yaml:7: spec.alertPolicies[0]: there is no AlertPolicy of this name: none is defined here (got "nope")`)
	f("service: shop", "service: shop\n  alertPolicies:\n  - spec: {conditions: [{conditionRef: nope}], alertWhenNoData: true}",
		`f.yaml:8: spec.alertPolicies[0].spec.alertWhenNoData: is not supported yet: leave it out (got "true")`,
		`f.yaml:8: spec.alertPolicies[0].spec.conditions[0].conditionRef: there is no AlertCondition of this name: none is defined here (got "nope")`)
}

func TestParseFileMistakes(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		_, err := Parse("f.yaml", []byte(src))
		if err == nil || err.Error() != want {
			t.Errorf("%.60q: got  %v\nwant %s", src, err, want)
		}
	}
	f("", "f.yaml: there is no SLO in it")
	f("# nothing\n---\n---\n", "f.yaml: there is no SLO in it")
	f("hello", "f.yaml:1: must be a mapping, not a string")
	f("a: [1\nb", "f.yaml:2: is not valid YAML: ',' or ']' must be specified")
	f("kind: SLO\nkind: SLI", `f.yaml:2: is not valid YAML: mapping key "kind" already defined at [1:1]`)
	f(strings.Repeat("[", 100_000), "f.yaml:1: is nested deeper than 64 levels")
	f(strings.Repeat("- ", 100_000), "f.yaml:1: is nested deeper than 64 levels")
	f(strings.Repeat(" ", 1<<20)+"x", "f.yaml: has 1048577 bytes, more than the 262144 that a file may have")
	f(strings.Repeat("\n", 10_001), "f.yaml: has 10001 lines, more than the 10000 that a file may have")
	f(yamlSLO("pay", "99.9")+yamlSLO("pay", "99"), `f.yaml:20: metadata.name: is the second SLO of this name: the first is at f.yaml:4 (got "pay")`)
}

func TestParseFiles(t *testing.T) {
	sli := "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: requests}\nspec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: shop}}}}}\n"
	slo := "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: pay}\nspec: {service: shop, indicatorRef: requests, objectives: [{target: 0.99}]}\n"
	defs, err := ParseFiles([]File{{"slo.yaml", []byte(slo)}, {"sli.yaml", []byte(sli)}})
	if err != nil || len(defs) != 1 || defs[0].Selector.Product != "shop" {
		t.Fatalf("got %+v, %v", defs, err)
	}
	_, err = ParseFiles([]File{{"slo.yaml", []byte(strings.Replace(slo, "Ref: requests", "Ref: request", 1))}, {"sli.yaml", []byte(strings.Replace(sli, "shop", "[]", 1))}})
	want := `slo.yaml:4: spec.indicatorRef: there is no SLI of this name; did you mean "requests"? (got "request")
sli.yaml:4: spec.ratioMetric.raw.metricSource.spec.product: must be a string, not a list`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Over HTTP the mistakes are a list of faults that begin with the line.
func TestMistakesAreFaults(t *testing.T) {
	_, err := Parse("", []byte(strings.Replace(yamlSLO("pay", "100"), "kind: SLO", "kind: SLO\nfoo: 1", 1)))
	var list fault.List
	if !errors.As(err, &list) || len(list) != 2 || !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if list[0].Field != "foo" || !strings.HasPrefix(list[0].Message, "line 4: unknown field") {
		t.Errorf("got %+v", list[0])
	}
	if list[1].Value != "100" || !strings.HasPrefix(list[1].Message, "line 8: must be below 100") {
		t.Errorf("got %+v", list[1])
	}
}

// Every complete file in the documentation is one that works.
func TestDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../docs/slo-definitions.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(doc, -1)
	n := 0
	for _, e := range examples {
		if strings.Contains(string(e[1]), "kind: SLO\n") {
			n++
			if _, err := Parse("example", e[1]); err != nil {
				t.Errorf("%v in\n%s", err, e[1])
			}
		}
	}
	if n < 3 {
		t.Errorf("only %d examples were found", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(yamlSLO("pay", "99.9", "routes: [/a*]", "threshold: 1s")))
	f.Add([]byte(`{"apiVersion":"openslo/v1","kind":"SLO","metadata":{"name":"x","annotations":{"headroom/targetsByPlan":"{starter: 99}"}},"spec":{"objectives":[{"target":0.99}]}}`))
	f.Add([]byte("a: &x [*x]\nb: *x\n<<: *x"))
	f.Add([]byte("apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: p}\nspec: {conditions: [{conditionRef: p}]}"))
	f.Add([]byte("a: |\n  b\nc: >-\n d\n? e\n: f\n- g\n!!binary x: %\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		defs, err := Parse("f", src)
		if (err == nil) == (len(defs) == 0) {
			t.Fatalf("%d definitions and error %v", len(defs), err)
		}
		for i := range defs {
			if err := defs[i].check(); err != nil {
				t.Fatal(err)
			}
			for _, w := range defs[i].Policy.Windows {
				if w.Short <= 0 || w.Short >= w.Long || w.Long > defs[i].Window || w.Short%time.Minute != 0 || !w.canFire(defs[i].Target) {
					t.Fatalf("window %+v at %s", w, defs[i].Target)
				}
			}
			for _, r := range []string{routeRegexp(defs[i].Selector.Routes), routeRegexp(defs[i].Selector.ExcludeRoutes)} {
				regexp.MustCompile(r)
			}
		}
		if err != nil && err.Error() == "" {
			t.Fatal("a mistake without words")
		}
	})
}
