package dashboards

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

// chart is a line chart over time: the server draws it as SVG, and the browser's script draws the same data with a
// cursor. X coordinates run from 0 to 1000 and are stretched; Y is in pixels.
type chart struct {
	Title    string  // accessible sentence
	Height   float64 // of the plot
	Lines    []chartLine
	LimitY   float64 // of the dashed line, -1 without
	LimitMS  float64
	RoomD    string // between the line that is measured and its limit
	YTicks   []tick
	XTicks   []tick
	Data     string // JSON for the script
	Empty    bool
	LimitTag string
}

// chartLine is one series, drawn.
type chartLine struct {
	Label, Class, D string
	Dots            string // path of the values that stand alone, where the line shows nothing
	LabelY          float64
}

type tick struct {
	At     float64 // pixels for y, percent for x
	Label  string
	Anchor string // of text on the time axis
	Shift  int    // of text from its line, in pixels: above it, below where there is no room above
}

// chartSeries is one series, as numbers. NaN is a gap.
type chartSeries struct {
	Label, Class string
	Values       []float64
}

// chartSpec says what to draw.
type chartSpec struct {
	Title  string
	Times  []time.Time
	Series []chartSeries
	Height float64
	Log    bool
	Limit  float64 // NaN without; drawn against the series of class p95
	Format func(float64) string
	Unit   string // for the script: ms, ratio, rate
	Fill   bool   // of the area under the first series
	Floor  float64
}

// labelHeight is the room in pixels that a label above its line needs.
const labelHeight = 16

// drawChart turns numbers into a drawing.
func drawChart(s chartSpec) chart {
	c := chart{Title: s.Title, Height: s.Height, LimitY: -1, LimitMS: s.Limit}
	lo, hi := extent(s)
	if math.IsNaN(hi) || len(s.Times) < 2 {
		c.Empty = true
		return c
	}
	if s.Log {
		lo, hi = max(lo, hi*1e-9)/1.25, hi*1.25 // from a nanosecond to a second is more than anybody can read
	} else {
		lo, hi = 0, max(hi*1.12, s.Floor)
	}
	y := func(v float64) float64 {
		f := (v - lo) / (hi - lo)
		if s.Log {
			f = math.Log(max(v, lo)/lo) / math.Log(hi/lo)
		}
		return round1(s.Height * (1 - f))
	}
	x := func(i int) float64 { return round1(1000 * float64(i) / float64(len(s.Times)-1)) }
	for _, line := range s.Series {
		l := chartLine{Label: line.Label, Class: line.Class, D: pathOf(line.Values, x, y), Dots: dotsOf(line.Values, x, y)}
		l.LabelY = labelY(line.Values, y)
		c.Lines = append(c.Lines, l)
		if s.Fill && len(c.Lines) == 1 {
			c.RoomD = areaOf(line.Values, x, y, s.Height)
		}
		if line.Class == "p95" && !math.IsNaN(s.Limit) {
			c.LimitY = y(s.Limit)
			c.LimitTag = "P95 limit " + s.Format(s.Limit)
			c.RoomD = areaOf(line.Values, x, y, c.LimitY)
		}
	}
	for _, v := range ticksBetween(lo, hi, s.Log) {
		t := tick{At: y(v), Label: s.Format(v), Shift: -4}
		if t.At < labelHeight {
			t.Shift = 12
		}
		c.YTicks = append(c.YTicks, t)
	}
	c.XTicks = timeTicks(s.Times)
	c.Data = chartJSON(s, lo, hi)
	return c
}

// extent returns the least and the largest value drawn, NaN without any.
func extent(s chartSpec) (lo, hi float64) {
	lo, hi = math.NaN(), math.NaN()
	take := func(v float64) {
		if math.IsNaN(v) || s.Log && v <= 0 {
			return
		}
		if !(lo <= v) {
			lo = v
		}
		if !(hi >= v) {
			hi = v
		}
	}
	for _, line := range s.Series {
		for _, v := range line.Values {
			take(v)
		}
	}
	if !math.IsNaN(hi) {
		take(s.Limit)
	}
	return lo, hi
}

// pathOf returns a path through the values, broken where there is none. A lone value becomes a short dash.
func pathOf(values []float64, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	pen := false
	for i, v := range values {
		if math.IsNaN(v) {
			pen = false
			continue
		}
		if pen {
			b.WriteByte('L')
		} else {
			b.WriteByte('M')
		}
		coordinates(&b, x(i), y(v))
		if lone := !pen && (i+1 == len(values) || math.IsNaN(values[i+1])); lone {
			b.WriteByte('h')
			b.WriteByte('2')
		}
		pen = true
	}
	return b.String()
}

// dotsOf returns the values without a neighbour as strokes of next to no length: round caps make dots of them.
func dotsOf(values []float64, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	for i, v := range values {
		if math.IsNaN(v) || i > 0 && !math.IsNaN(values[i-1]) || i+1 < len(values) && !math.IsNaN(values[i+1]) {
			continue
		}
		b.WriteByte('M')
		coordinates(&b, x(i), y(v))
		b.WriteString("h.01")
	}
	return b.String()
}

// areaOf returns the area between the values and a base line.
func areaOf(values []float64, x func(int) float64, y func(float64) float64, base float64) string {
	var b strings.Builder
	for i := 0; i < len(values); {
		if math.IsNaN(values[i]) {
			i++
			continue
		}
		b.WriteByte('M')
		coordinates(&b, x(i), base)
		for ; i < len(values) && !math.IsNaN(values[i]); i++ {
			b.WriteByte('L')
			coordinates(&b, x(i), y(values[i]))
		}
		b.WriteByte('L')
		coordinates(&b, x(i-1), base)
		b.WriteByte('Z')
	}
	return b.String()
}

func coordinates(b *strings.Builder, x, y float64) {
	b.WriteString(strconv.FormatFloat(x, 'f', -1, 64))
	b.WriteByte(' ')
	b.WriteString(strconv.FormatFloat(y, 'f', -1, 64))
}

// labelY returns where a line's name stands: at its height a sixth into the chart.
func labelY(values []float64, y func(float64) float64) float64 {
	for _, v := range values[len(values)/6:] {
		if !math.IsNaN(v) {
			return y(v)
		}
	}
	return -1
}

// ticksBetween returns two to five round values inside (lo, hi).
func ticksBetween(lo, hi float64, log bool) []float64 {
	var ticks []float64
	if log {
		for _, mantissas := range [][]float64{{1}, {1, 3}, {1, 2, 5}} {
			ticks = ticks[:0]
			for p := math.Pow(10, math.Floor(math.Log10(lo))); p < hi; p *= 10 {
				for _, m := range mantissas {
					if v := p * m; v > lo && v < hi {
						ticks = append(ticks, v)
					}
				}
			}
			if len(ticks) >= 3 {
				break
			}
		}
		for len(ticks) > 5 { // many decades: every other one will do
			thin := ticks[:0]
			for i := 0; i < len(ticks); i += 2 {
				thin = append(thin, ticks[i])
			}
			ticks = thin
		}
		return ticks
	}
	raw := (hi - lo) / 3
	p := math.Pow(10, math.Floor(math.Log10(raw)))
	step := p
	for _, m := range []float64{2, 5, 10} {
		if step < raw {
			step = p * m
		}
	}
	for v := step; v < hi; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

// axisMillis writes a latency on an axis: round values need no digits after the point.
func axisMillis(ms float64) string {
	if ms >= 1000 {
		return strconv.FormatFloat(short(ms/1000), 'f', -1, 64) + theme.NarrowSpace + "s"
	}
	return theme.Millis(ms)
}

// roundMillis writes a threshold: people set round ones.
func roundMillis(d time.Duration) string { return axisMillis(float64(d) / float64(time.Millisecond)) }

// timeTicks returns up to six labels along the time axis, at round times.
func timeTicks(times []time.Time) []tick {
	const day, most = 24 * time.Hour, 6
	first, last := times[0], times[len(times)-1]
	step := 7 * day
	for _, s := range []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
		3 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 5 * day} {
		if last.Sub(first)/s < most {
			step = s
			break
		}
	}
	format := "15:04"
	if step >= day {
		format = "2 Jan"
	}
	var ticks []tick
	for at := first.Truncate(step); !at.After(last); at = at.Add(step) {
		if at.Before(first) {
			continue
		}
		t := tick{At: round1(100 * float64(at.Sub(first)) / float64(last.Sub(first))), Label: at.UTC().Format(format), Anchor: "middle"}
		switch {
		case t.At < 3:
			t.Anchor = "start"
		case t.At > 97:
			t.Anchor = "end"
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// chartJSON is what the script needs to draw the chart again with a cursor.
func chartJSON(s chartSpec, lo, hi float64) string {
	type series struct {
		Label  string     `json:"label"`
		Class  string     `json:"class"`
		Values []*float64 `json:"values"`
	}
	data := struct {
		Times  []int64  `json:"times"`
		Series []series `json:"series"`
		Unit   string   `json:"unit"`
		Log    bool     `json:"log"`
		Fill   bool     `json:"fill"`
		Low    float64  `json:"low"`
		High   float64  `json:"high"`
		Limit  *float64 `json:"limit"`
	}{Unit: s.Unit, Log: s.Log, Fill: s.Fill, Low: short(lo), High: short(hi), Limit: number(s.Limit)}
	for _, t := range s.Times {
		data.Times = append(data.Times, t.Unix())
	}
	for _, line := range s.Series {
		out := series{Label: line.Label, Class: line.Class}
		for _, v := range line.Values {
			out.Values = append(out.Values, number(v))
		}
		data.Series = append(data.Series, out)
	}
	b, err := json.Marshal(data)
	if err != nil {
		panic("BUG: " + err.Error()) // numbers and strings only, NaN is nil
	}
	return string(b)
}

// number returns a value as JSON has it: nil for none.
func number(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	f = short(f)
	return &f
}

// short keeps four digits that matter.
func short(f float64) float64 {
	if math.Abs(f) < 1e-9 {
		return 0
	}
	p := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(f))))
	return math.Round(f*p) / p
}

// sparkline is a small line of P95 with its limit. Only what lies above the limit is coloured.
type sparkline struct {
	Line, Area string
	LimitY     float64 // -1 without
	Title      string
}

const (
	sparkWidth  = 104.0
	sparkHeight = 24.0
)

// drawSpark draws values in milliseconds over words such as "the last hour".
func drawSpark(values []float64, limit float64, words string) sparkline {
	s := sparkline{LimitY: -1}
	lo, hi, last := math.NaN(), 0.0, math.NaN()
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		hi, last = max(hi, v), v
		if !(lo <= v) {
			lo = v
		}
	}
	if math.IsNaN(lo) {
		return s
	}
	s.Title = "P95 over " + words + ": " + theme.Millis(lo) + " to " + theme.Millis(hi) + ", now " + theme.Millis(last)
	// The limit is part of the picture unless the line is far below: then it would be flat.
	if !math.IsNaN(limit) && hi > limit/3 {
		hi = max(hi, limit)
		if last > limit {
			s.Title += ", over the limit of " + theme.Millis(limit)
		}
	} else {
		limit = math.NaN()
	}
	y := func(v float64) float64 { return round1(2 + (sparkHeight-4)*(1-v/hi)) }
	x := func(i int) float64 { return round1(sparkWidth * float64(i) / float64(max(1, len(values)-1))) }
	s.Line, s.Area = pathOf(values, x, y), areaOf(values, x, y, sparkHeight)
	if !math.IsNaN(limit) {
		s.LimitY = y(limit)
	}
	return s
}
