// Command slomath simulates how many pages quiet and busy tenants raise for nothing, and how long a trouble goes on before
// it pages, by the plain rule of Google's SRE workbook and by headroom's. It prints the tables of docs/slo-math.md and
// draws its plots. The same seed makes the same numbers.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/nexis-limited/headroom/slo"
)

var (
	rates   = []float64{1, 3, 10, 30, 100, 300, 1e3, 1e4, 1e5, 1e6, 3.6e7} // requests an hour; the last are 10,000 a second
	failing = []float64{1, 0.5, 0.05}
)

// rule is a way to decide.
type rule struct {
	name       string
	confidence float64
	results    map[float64][]slo.Simulated // by share failing: one for each rate
}

func main() {
	images := flag.String("images", "docs/images", "directory for the plots")
	troubles := flag.Int("troubles", 200, "troubles for each median")
	months := flag.Int("months", 24, "months without trouble for each count of false pages")
	flag.Parse()
	rules := []*rule{{name: "workbook", confidence: 0}, {name: "headroom", confidence: slo.DefaultConfidence}}
	for _, rule := range rules {
		rule.run(*troubles, *months)
	}
	fmt.Println("| requests an hour | rule | pages for nothing a month | all fail | half fails | 5 % fails |")
	fmt.Println("| ---: | --- | ---: | ---: | ---: | ---: |")
	for i, rate := range rates {
		for _, rule := range rules {
			fmt.Printf("| %s | %s | %.2f", number(rate), rule.name, rule.results[1][i].FalsePages)
			for _, f := range failing {
				s := rule.results[f][i]
				fmt.Printf(" | %s / %s", minutes(s.Median), minutes(s.P95))
			}
			fmt.Println(" |")
		}
	}
	if err := draw(rules, *images); err != nil {
		log.Fatal(err)
	}
}

const patience = 3 * 24 * time.Hour

func (r *rule) run(troubles, months int) {
	r.results = map[float64][]slo.Simulated{}
	windows := slo.DefaultWindows(30 * 24 * time.Hour)
	d := &slo.Definition{Target: 999_000, Window: 30 * 24 * time.Hour, Policy: slo.Policy{Windows: windows[:2], Confidence: r.confidence}}
	for _, f := range failing {
		for _, rate := range rates {
			sim := slo.Simulation{RequestsPerHour: rate, HealthyRatio: 0.0005, FailingRatio: f, Troubles: troubles, Patience: patience}
			if f == 1 {
				sim.Healthy = time.Duration(months) * 30 * 24 * time.Hour
			}
			r.results[f] = append(r.results[f], d.Simulate(sim, rand.New(rand.NewPCG(1, uint64(rate)))))
		}
	}
}

func minutes(d time.Duration) string {
	if d >= patience {
		return "–"
	}
	return fmt.Sprintf("%.0f", d.Minutes())
}

func number(rate float64) string {
	if rate == 3.6e7 {
		return "36,000,000"
	}
	return fmt.Sprintf("%.0f", rate)
}

func draw(rules []*rule, dir string) error {
	false1, err := chart("Pages for nothing in 30 days, nothing being wrong", "pages", nil)
	if err != nil {
		return err
	}
	delay, err := chart("Half of the requests fail: minutes to the page (median)", "minutes", plot.LogScale{})
	if err != nil {
		return err
	}
	var falseLines, delayLines []any
	for _, r := range rules {
		var pages, wait plotter.XYs
		for i, rate := range rates {
			pages = append(pages, plotter.XY{X: rate, Y: r.results[1][i].FalsePages})
			if d := r.results[0.5][i].Median; d < patience {
				wait = append(wait, plotter.XY{X: rate, Y: d.Minutes()})
			}
		}
		falseLines = append(falseLines, r.name, pages)
		delayLines = append(delayLines, r.name, wait)
	}
	if err := plotutil.AddLinePoints(false1, falseLines...); err != nil {
		return err
	}
	if err := plotutil.AddLinePoints(delay, delayLines...); err != nil {
		return err
	}
	if err := false1.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(dir, "slo-false-pages.svg")); err != nil {
		return err
	}
	return delay.Save(18*vg.Centimeter, 9*vg.Centimeter, filepath.Join(dir, "slo-time-to-detect.svg"))
}

func chart(title, y string, scale plot.Normalizer) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "requests an hour", y
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if scale != nil {
		p.Y.Scale, p.Y.Tick.Marker = scale, plot.LogTicks{Prec: -1}
	}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	return p, nil
}
