package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	defaultSeed    = 20261124
	defaultRate    = 12
	defaultHistory = 24 * time.Hour
)

// Options say where headroom is and how large the company is.
type Options struct {
	OTLP      string        // base URL of the collector, such as http://localhost:4318; required
	API       string        // base URL of the console and its API, such as http://localhost:8080; required
	IngestKey string        // key of scope ingest:write; required
	AdminKey  string        // key of scope admin; required
	Rate      float64       // requests a second from outside in the busiest hour; 12 by default
	History   time.Duration // how much past there is; 24 h by default, negative for none
	Seed      uint64        // fixed by default
	Client    *http.Client  // one of its own by default
	Logger    *slog.Logger  // none by default
}

func (o *Options) check() error {
	for name, v := range map[string]string{"OTLP": o.OTLP, "API": o.API, "IngestKey": o.IngestKey, "AdminKey": o.AdminKey} {
		if v == "" {
			return fmt.Errorf("cannot run the demo: %s is required", name)
		}
	}
	if o.Rate < 0 {
		return fmt.Errorf("cannot run the demo: Rate must not be negative (got %v)", o.Rate)
	}
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Seed == 0 {
		o.Seed = defaultSeed
	}
	if o.History == 0 {
		o.History = defaultHistory
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Run sets headroom up, fills its history and then lives on until ctx is done, when it returns nil. An error means that
// headroom refused something for good.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	log := o.Logger.With("component", "demo")
	client := o.Client
	if client == nil {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: historyWorker, IdleConnTimeout: time.Minute}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	company := NewCompany()
	schedule := NewSchedule(company)
	api := &apiClient{base: strings.TrimRight(o.API, "/"), key: o.AdminKey, client: client}
	p := &pusher{url: strings.TrimRight(o.OTLP, "/") + tracesPath, key: o.IngestKey, client: client, log: log}

	err := setUp(ctx, api, company, time.Now(), log)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	start := time.Now().Truncate(time.Second)
	zone := morningZone(start)
	traffic := func() *Traffic { return NewTraffic(company, o.Seed, o.Rate, zone) }
	watching := &observer{company: company, schedule: schedule, live: start, pusher: p.to(metricsPath)}
	if o.History > 0 {
		from := start.Add(-o.History)
		have := api.minutesWithTraffic(ctx, company.Tenants[0].ID, from, start, log)
		f := filler{traffic: traffic, schedule: schedule, live: start, pusher: p, log: log}
		missing := chunks(from, start, have)
		spans, err := f.fill(ctx, missing)
		if err == nil {
			err = watching.fill(ctx, missing)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		log.InfoContext(ctx, "history is there", "spans", spans, "took", time.Since(start).Round(time.Millisecond))
	}
	l := stream{log: log, sender: sender{traffic: traffic(), schedule: schedule, live: time.Now(), pusher: p}}
	watching.live = l.sender.live
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return watching.run(ctx) })
	g.Go(func() error { return l.run(ctx, start) })
	return g.Wait()
}

// morningZone returns the time zone in which it is ten in the morning now: the demo always shows a morning.
func morningZone(now time.Time) time.Duration {
	u := now.UTC()
	return 10*time.Hour - time.Duration(u.Hour())*time.Hour - time.Duration(u.Minute())*time.Minute
}
