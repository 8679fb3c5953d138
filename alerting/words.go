package alerting

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nexis-limited/headroom/web/theme"
)

// budget says what is left: "59 % left", "overspent by 6 %".
func budget(left float64) string {
	switch {
	case left < 0:
		return "overspent by " + theme.Overspent(left)
	case left == 0:
		return "no budget left"
	}
	return theme.Budget(left) + " left"
}

// points says how much of a budget went, 0.23 is "23 points of budget".
func points(spent float64) string {
	switch p := math.Round(spent * 100); {
	case spent < 0.0005:
		return "no budget"
	case p < 1:
		return "less than a point of budget"
	case p == 1:
		return "1 point of budget"
	default:
		return theme.Num(p) + " points of budget"
	}
}

// gone says when a budget runs out: a time while it is near, how long it lasts when it is not.
func gone(when, now time.Time) string {
	if d := when.Sub(now); d >= 24*time.Hour {
		return "enough for " + theme.Duration(d)
	}
	return "gone about " + theme.Stamp(when, now)
}

// last names the window that ends now: "the last hour", "the last 6 h".
func last(d time.Duration) string {
	switch d {
	case time.Hour:
		return "the last hour"
	case 24 * time.Hour:
		return "the last day"
	}
	return "the last " + theme.Duration(d)
}

// limit says what had to be exceeded: "over 14.4× for 1 h and 5 min, 99 % sure".
func limit(b *Burn) string {
	if b.Factor <= 0 {
		return ""
	}
	factor := shortFloat(math.Round(b.Factor*100)/100) + "×"
	s := "over " + factor + " for " + theme.Duration(b.Long) + " and " + theme.Duration(b.Short)
	if b.Confidence > 0 {
		s += ", " + theme.Ratio(b.Confidence) + " sure"
	}
	return s
}

// allowed says which share the targets allow: "allowed 0.1 %", "allowed 0.1 to 1 %" when tenants have different ones.
func allowed(members []Member) string {
	var shares []*big.Rat
	for _, m := range members {
		digits := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(m.Burn.Target), "%"))
		target, ok := new(big.Rat).SetString(digits)
		if !ok || target.Sign() <= 0 || target.Cmp(big.NewRat(100, 1)) > 0 {
			return ""
		}
		shares = append(shares, target.Sub(big.NewRat(100, 1), target))
	}
	write := func(r *big.Rat) string { // exactly, as people wrote the target
		s := r.FloatString(4)
		return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if len(shares) == 0 {
		return ""
	}
	cmpRat := func(x, y *big.Rat) int { return x.Cmp(y) }
	lo, hi := write(slices.MinFunc(shares, cmpRat)), write(slices.MaxFunc(shares, cmpRat))
	if lo == hi {
		return "allowed " + lo + theme.NarrowSpace + "%"
	}
	return "allowed " + lo + " to " + hi + theme.NarrowSpace + "%"
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return cmp.Or(string(unicode.ToUpper(r))+s[n:], s)
}
