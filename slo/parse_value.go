package slo

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var decimalPattern = regexp.MustCompile(`^[+-]?([0-9]{1,20}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?$`)

// decimal returns a number exactly as it was written. A string that holds one is taken too.
func (n node) decimal() (*big.Rat, bool) {
	switch n.value.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
		if s := strings.TrimSpace(n.text()); decimalPattern.MatchString(s) {
			if r, ok := new(big.Rat).SetString(s); ok {
				return r, true
			}
		}
	}
	n.fail(n.text(), "must be a number, such as 99.9")
	return nil, false
}

// ppm reads a target that is a share of whole, 1 or 100.
func (n node) ppm(whole int64) (PPM, bool) {
	if !n.present() {
		n.fail("", "is missing: a number such as 99.9")
		return 0, false
	}
	if s := strings.TrimSpace(n.text()); strings.HasSuffix(s, "%") {
		n.fail(n.text(), "must be a number without the percent sign")
		return 0, false
	}
	r, ok := n.decimal()
	if !ok {
		return 0, false
	}
	top, unit := "100", " percent"
	if whole == 1 {
		top, unit = "1", ""
	}
	switch {
	case r.Cmp(big.NewRat(whole, 1)) >= 0:
		hint := ""
		if v, _ := r.Float64(); whole == 1 && v > 1 && v < 100 {
			hint = "; did you mean targetPercent?"
		}
		n.fail(n.text(), "must be below %s%s: a target of 100 %% leaves no budget and any failure would alert%s", top, unit, hint)
		return 0, false
	case r.Sign() <= 0:
		n.fail(n.text(), "must be above 0%s", unit)
		return 0, false
	}
	r.Mul(r, big.NewRat(int64(One)/whole, 1))
	if !r.IsInt() {
		n.fail(n.text(), "is more precise than one part in a million: at most %s", map[bool]string{
			true: "6 decimals", false: "4 decimals of a percent"}[whole == 1])
		return 0, false
	}
	return PPM(r.Num().Int64()), true
}

var shorthandPattern = regexp.MustCompile(`^([0-9]{1,6})([a-zA-Z]+)$`)

// shorthand reads OpenSLO's duration shorthand, such as 5m, 12h, 30d, 4w.
func (n node) shorthand() (time.Duration, bool) {
	if !n.present() {
		return 0, false
	}
	s := n.str()
	m := shorthandPattern.FindStringSubmatch(s)
	if m == nil {
		n.fail(s, "must be a duration such as 5m, 1h, 30d or 4w")
		return 0, false
	}
	count, _ := strconv.Atoi(m[1])
	unit, ok := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day}[m[2]]
	if !ok {
		hint := "must be a duration in m, h, d or w, such as 5m or 30d"
		switch m[2] {
		case "M", "Q", "Y":
			hint = "months, quarters and years differ in length: use days, such as 30d, or a timeWindow with a calendar"
		case "s":
			hint = "must be whole minutes, such as 5m"
		}
		n.fail(s, "%s", hint)
		return 0, false
	}
	return time.Duration(count) * unit, true
}

// Shorthand returns a duration of whole minutes as OpenSLO writes it, in the largest unit that fits: 90m, 6h, 30d. Days
// stay days. Other durations come as Go writes them.
func Shorthand(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d != 0 && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}

// readConfidence reads the confidence of the lower bound, 0 or from 0.5 up to 1.
func readConfidence(n node) float64 {
	r, ok := n.decimal()
	if !ok {
		return 0
	}
	c, _ := r.Float64()
	if c != 0 && (c < 0.5 || c > 0.9999) {
		n.fail(n.text(), "must be from 0.5 to 0.9999, such as 0.99, or 0 for alerts without regard to how few requests there are")
	}
	return c
}

// number prints a factor with at most three decimals.
func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

// percent prints a share as a percentage with at most two decimals and a narrow space.
func percent(f float64) string {
	return strconv.FormatFloat(math.Round(f*10_000)/100, 'f', -1, 64) + "\u202f%"
}

// lowestTarget returns the lowest target in tenths of a percent, or finer where that is too coarse, at which a factor
// can be exceeded.
func lowestTarget(factor float64) string {
	for _, step := range []PPM{1000, 100, 10, 1} {
		p := PPM(math.Ceil((1-1/factor)*float64(One)/float64(step))) * step
		if !(BurnWindow{Factor: factor}).canFire(p) {
			p += step
		}
		if p < One {
			return p.String()
		}
	}
	return (One - 1).String()
}
