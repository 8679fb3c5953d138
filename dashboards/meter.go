package dashboards

import (
	"math"
	"strconv"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/web/theme"
)

// meter is a budget bar: what is left of it, with a notch at a quarter; hatched by how much it is overspent.
type meter struct {
	Width string // share of the bar, as an SVG length
	Class string // "", "low" or "over"
	Title string // accessible: "59 % of the budget left"
	Text  string // beside the bar
}

// budgetBar draws what is left of a budget.
func budgetBar(left float64) meter {
	m := meter{Text: theme.Budget(left)}
	switch {
	case math.IsNaN(left):
		m.Width, m.Title = "0", "no data"
		return m
	case left < 0:
		m.Class, m.Title = "over", theme.Overspent(left)+" overspent"
		m.Width = percent(min(-left, 1))
		return m
	case left < 0.25:
		m.Class = "low"
	}
	m.Width, m.Title = percent(min(left, 1)), m.Text+" of the budget left"
	return m
}

// meterOf draws a share of a whole without judging it, such as a route's share of the failures.
func meterOf(part, whole uint64) string { return percent(ratio(part, whole)) }

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + "%"
}

// interval is a burn rate with its uncertainty on a log axis from 0.1× to 1000×: the point, its whiskers, the factor
// at which it alerts.
type interval struct {
	Low, High, Point, Factor string // positions as SVG lengths
	Width                    string // from Low to High
	AlertWidth               string // from Factor to the end
	Title                    string
}

// intervalOf draws one window pair.
func intervalOf(b slo.BurnRate) interval {
	return drawInterval(b.LowerRate(), b.LongRate, b.UpperRate(), b.Factor)
}

func drawInterval(lowerRate, rate, upperRate, alertsOver float64) interval {
	at := func(rate float64) float64 {
		return min(max((math.Log10(max(rate, 0.1))+1)/4, 0), 1)
	}
	low, high, factor := at(lowerRate), at(upperRate), at(alertsOver)
	return interval{
		Low: percent(low), High: percent(high), Point: percent(at(rate)), Factor: percent(factor),
		Width: percent(max(high-low, 0)), AlertWidth: percent(1 - factor),
		Title: theme.Burn(rate) + ", between " + theme.Burn(lowerRate) + " and " + theme.Burn(upperRate) +
			"; alerts over " + factorWords(alertsOver),
	}
}

// factorWords writes the factor of a window pair as the workbook does: 14.4×, 6×.
func factorWords(f float64) string {
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64) + "×"
}
