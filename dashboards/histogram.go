package dashboards

import (
	"math"
	"slices"
)

// budgetBins is how many bars the histogram of budgets has for what is left; overspent ones stand apart.
const budgetBins = 20

// budgetHistogram counts tenants by the budget that their tightest SLO has left.
type budgetHistogram struct {
	Overspent int
	Bins      [budgetBins]int // of 5 % each, from empty to full
	Low       int             // under 25 %, not overspent
	Tenants   int
	Median    float64 // NaN without tenants
}

// budgetsOf counts the rows that have an SLO with data.
func budgetsOf(rows []tenantRow) budgetHistogram {
	h := budgetHistogram{Median: math.NaN()}
	var all []float64
	for i := range rows {
		left := rows[i].Budget
		if math.IsNaN(left) {
			continue
		}
		all = append(all, left)
		switch {
		case left < 0:
			h.Overspent++
			continue
		case left < 0.25:
			h.Low++
		}
		h.Bins[min(int(left*budgetBins), budgetBins-1)]++
	}
	if h.Tenants = len(all); h.Tenants > 0 {
		slices.Sort(all)
		h.Median = all[(h.Tenants-1)/2]
	}
	return h
}

// bar is a column of the histogram, in the coordinates of its drawing.
type bar struct {
	X, Y, Width, Height float64
	Class               string
	Count               int
}

// The drawing of the histogram: a column of 1/21 of the width each, heights on a root scale so that single tenants
// are seen beside thousands.
const (
	histogramHeight = 92.0
	histogramWidth  = 420.0
)

// Bars returns the columns, the overspent one first.
func (h budgetHistogram) Bars() []bar {
	most := max(h.Overspent, slices.Max(h.Bins[:]), 1)
	const step = histogramWidth / (budgetBins + 1)
	bars := make([]bar, 0, budgetBins+1)
	add := func(i, count int, class string) {
		height := 0.0
		if count > 0 {
			height = max(3, math.Sqrt(float64(count)/float64(most))*histogramHeight)
		}
		bars = append(bars, bar{round1(float64(i)*step + 1), round1(histogramHeight - height), round1(step - 2), round1(height), class, count})
	}
	add(0, h.Overspent, "over")
	for i, n := range h.Bins {
		class := "left"
		if i < budgetBins/4 {
			class = "low"
		}
		add(i+1, n, class)
	}
	return bars
}

// round1 keeps one digit after the point: enough for a drawing, and short.
func round1(f float64) float64 { return math.Round(f*10) / 10 }
