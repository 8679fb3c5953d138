package theme

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// NarrowSpace stands between a number and its unit; no line breaks there (U+202F).
const NarrowSpace = "\u202f"

// minus is the sign of negative numbers in text (U+2212), as wide as a plus.
const minus = "\u2212"

// Num returns a number with a comma between thousands: 3412 is "3,412". Floats are rounded to whole numbers, below 10
// to one digit. Anything that is no number comes back as fmt prints it.
func Num(v any) string {
	switch n := v.(type) {
	case int:
		return thousands(int64(n))
	case int64:
		return thousands(n)
	case int32:
		return thousands(int64(n))
	case uint64:
		if n > math.MaxInt64 {
			return strconv.FormatUint(n, 10)
		}
		return thousands(int64(n))
	case uint32:
		return thousands(int64(n))
	case uint16:
		return thousands(int64(n))
	case float64:
		if math.Abs(n) < 10 && n != math.Trunc(n) {
			return sign(strconv.FormatFloat(n, 'f', 1, 64))
		}
		if math.Abs(n) < math.MaxInt64 {
			return thousands(int64(math.Round(n)))
		}
	}
	return fmt.Sprint(v)
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		return minus + s
	}
	return s
}

func sign(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return minus + rest
	}
	return s
}

// Pct returns a percentage with the two or three digits that matter: 59.2 is "59 %", 8.61 is "8.6 %", 0.964 is
// "0.96 %". What is above 0 but rounds to nothing is "<0.01 %", never "0 %".
func Pct(percent float64) string {
	a := math.Abs(percent)
	digits := 0
	switch {
	case math.IsNaN(percent) || math.IsInf(percent, 0):
		return "no data"
	case a == 0:
		return "0" + NarrowSpace + "%"
	case a < 0.005:
		return "<0.01" + NarrowSpace + "%"
	case a < 0.995:
		digits = 2
	case a < 9.95:
		digits = 1
	}
	return sign(strconv.FormatFloat(percent, 'f', digits, 64)) + NarrowSpace + "%"
}

// Ratio returns a share from 0 to 1 as Pct does: 0.086 is "8.6 %".
func Ratio(share float64) string { return Pct(share * 100) }

// Availability returns a share from 0 to 1 with five digits, rounded down, so that only what is whole reads
// "100 %": 0.9997649 is "99.976 %".
func Availability(share float64) string {
	if math.IsNaN(share) {
		return "no data"
	}
	if share >= 1 {
		return "100" + NarrowSpace + "%"
	}
	// The small step keeps 0.99976 from becoming 99.97599.
	down := math.Floor(share*100_000+1e-7) / 1_000
	return sign(strconv.FormatFloat(down, 'f', 3, 64)) + NarrowSpace + "%"
}

// Budget returns what is left of an error budget in whole percent: 1 is "100 %", -0.06 is "−6 %". Between 0 and one
// percent it is "<1 %", because something is left; it rounds down, because a full budget is one that lost nothing.
func Budget(left float64) string {
	p := math.Floor(left*100 + 1e-9)
	switch {
	case math.IsNaN(left):
		return "no data"
	case left > 0 && p < 1:
		return "<1" + NarrowSpace + "%"
	case p < -999:
		return "below " + minus + "999" + NarrowSpace + "%"
	}
	return sign(strconv.FormatFloat(p, 'f', 0, 64)) + NarrowSpace + "%"
}

// Overspent returns how far below empty a budget is, in the same whole percent as Budget: -0.06 is "6 %".
func Overspent(left float64) string {
	p := -math.Floor(left*100 + 1e-9)
	if p > 999 {
		return "more than 999" + NarrowSpace + "%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + NarrowSpace + "%"
}

// Burn returns a burn rate with its sign: "106×", below 10 with one digit "9.4×".
func Burn(rate float64) string {
	switch {
	case math.IsNaN(rate):
		return "no data"
	case math.IsInf(rate, 0) || rate >= 9_999.5:
		return ">9,999×"
	case rate < 9.95:
		return strconv.FormatFloat(rate, 'f', 1, 64) + "×"
	}
	return thousands(int64(math.Round(rate))) + "×"
}

// Millis returns a latency with two or three digits that matter: "212 ms", "1.46 s", "0.42 ms", "2.1 ms". It takes a
// time.Duration or a float64 of milliseconds.
func Millis(v any) string {
	var ms float64
	switch d := v.(type) {
	case time.Duration:
		ms = float64(d) / float64(time.Millisecond)
	case float64:
		ms = d
	default:
		return fmt.Sprint(v)
	}
	unit, digits := "ms", 0
	switch {
	case math.IsNaN(ms) || math.IsInf(ms, 0):
		return "no data"
	case ms == 0:
	case ms >= 99_950:
		return Duration(time.Duration(ms * float64(time.Millisecond)))
	case ms >= 9_995:
		ms, unit, digits = ms/1_000, "s", 1
	case ms >= 999.5:
		ms, unit, digits = ms/1_000, "s", 2
	case ms < 0.995:
		digits = 2
	case ms < 9.95:
		digits = 1
	}
	return strconv.FormatFloat(ms, 'f', digits, 64) + NarrowSpace + unit
}

// Count returns a number with its noun: "1 tenant", "3,412 tenants".
func Count(n any, one, many string) string {
	s := Num(n)
	if s == "1" {
		return s + " " + one
	}
	return s + " " + many
}
