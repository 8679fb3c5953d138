package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func printSetting(o options) {
	n, size := 0, 0
	for _, b := range makeBodies(8, o.bodySpans, 1) {
		n += len(b.spans)
		size += len(b.data)
	}
	fmt.Printf("%d cores shared by load generator, receiver and ClickHouse; %d connections, %d to the Collector; requests of %d spans, %d bytes a span; %s, %d runs\n\n",
		runtime.NumCPU(), o.connections, o.peerConnections, n/8, size/n, o.length, o.runs)
}

func printRun(n int, r *result) {
	spans, all := r.bytes(tableOf(r.System))
	fmt.Printf("run %d %-9s %8.0f spans/s  ack p50 %s p99 %s, at %.0f/s p50 %s p99 %s  %4d MB  %.1f bytes/span (%.1f in all)  CPU µs/span: load %.2f, receiver %.2f, ClickHouse %.2f  (%d spans, %d refused)\n",
		n, r.System, r.Rate, milli(r.Saturated.quantile(.5)), milli(r.Saturated.quantile(.99)), r.PacedRate, milli(r.Paced.quantile(.5)), milli(r.Paced.quantile(.99)),
		r.Memory>>20, spans, all, r.CPU.Load, r.CPU.Receiver, r.CPU.ClickHouse, r.Spans, r.Refused)
}

func tableOf(system string) string {
	if system == "headroom" {
		return "trace_spans"
	}
	return "otel_traces"
}

func milli(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// measures are the lines of the table.
var measures = []struct {
	name  string
	of    func(*result) float64
	style string
}{
	{"spans/s, until stored", func(r *result) float64 { return r.Rate }, "%.0f"},
	{"ack p50, saturated, ms", func(r *result) float64 { return ms(r.Saturated.quantile(.5)) }, "%.0f"},
	{"ack p99, saturated, ms", func(r *result) float64 { return ms(r.Saturated.quantile(.99)) }, "%.0f"},
	{"ack p50, half its rate, ms", func(r *result) float64 { return ms(r.Paced.quantile(.5)) }, "%.0f"},
	{"ack p99, half its rate, ms", func(r *result) float64 { return ms(r.Paced.quantile(.99)) }, "%.0f"},
	{"peak memory of the receiver, MB", func(r *result) float64 { return float64(r.Memory) / (1 << 20) }, "%.0f"},
	{"bytes/span on disk, spans", func(r *result) float64 { s, _ := r.bytes(tableOf(r.System)); return s }, "%.1f"},
	{"bytes/span on disk, all tables", func(r *result) float64 { _, a := r.bytes(tableOf(r.System)); return a }, "%.1f"},
	{"CPU µs/span, receiver", func(r *result) float64 { return r.CPU.Receiver }, "%.2f"},
	{"CPU µs/span, ClickHouse", func(r *result) float64 { return r.CPU.ClickHouse }, "%.2f"},
	{"CPU µs/span, load generator", func(r *result) float64 { return r.CPU.Load }, "%.2f"},
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printTable prints smallest, median and largest of the runs, and the ratio of the medians.
func printTable(results []*result) {
	var ours, theirs []*result
	for _, r := range results {
		if r.System == "headroom" {
			ours = append(ours, r)
		} else {
			theirs = append(theirs, r)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "\n\theadroom min\tmedian\tmax\totelcol min\tmedian\tmax\tratio of medians\t")
	for _, m := range measures {
		cells := []string{m.name}
		var medians []float64
		for _, rs := range [][]*result{ours, theirs} {
			if len(rs) == 0 {
				cells = append(cells, "", "", "")
				continue
			}
			v := make([]float64, len(rs))
			for i, r := range rs {
				v[i] = m.of(r)
			}
			slices.Sort(v)
			median := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
			medians = append(medians, median)
			for _, x := range []float64{v[0], median, v[len(v)-1]} {
				cells = append(cells, fmt.Sprintf(m.style, x))
			}
		}
		if len(medians) == 2 && medians[1] != 0 {
			cells = append(cells, fmt.Sprintf("%.2f", medians[0]/medians[1]))
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
	}
	_ = w.Flush()
	for _, rs := range [][]*result{ours, theirs} {
		if len(rs) > 0 {
			printSizes(rs[len(rs)-1])
		}
	}
}

// printSizes prints what each table of one run needs.
func printSizes(r *result) {
	slices.SortFunc(r.Sizes, func(a, b tableSize) int { return cmp.Compare(b.Bytes, a.Bytes) })
	fmt.Printf("\n%s, last run, after all merges: bytes a span of each table:", r.System)
	for _, s := range r.Sizes {
		fmt.Printf(" %s %.2f;", s.Table, float64(s.Bytes)/float64(r.Spans))
	}
	fmt.Println()
}
