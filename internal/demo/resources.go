package demo

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// observer pushes what the receivers of an OpenTelemetry Collector would say of the company's databases, caches and queues
// every minute. What it says of a minute depends on the minute only, so that counters go on where they were.
type observer struct {
	company    *Company
	schedule   *Schedule
	live       time.Time // offsets of the schedule count from here
	pusher     *pusher
	compressor compressor
}

const (
	watchEvery    = time.Minute
	minutesAtOnce = 60 // of the past
)

// countersBegan is when all servers were started.
var countersBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// queueOwners are the products whose services read the queues.
var queueOwners = map[string]string{"orders": "analytics", "hooks-out": "messaging", "mail-out": "messaging"}

// fill pushes the minutes of the past that are missing.
func (o *observer) fill(ctx context.Context, missing []chunk) error {
	var minutes []time.Time
	for _, c := range missing {
		for t := c.from.Truncate(watchEvery); t.Before(c.until); t = t.Add(watchEvery) {
			minutes = append(minutes, t)
		}
	}
	for ; len(minutes) > 0; minutes = minutes[min(minutesAtOnce, len(minutes)):] {
		if err := o.push(ctx, minutes[:min(minutesAtOnce, len(minutes))]); err != nil {
			return fmt.Errorf("cannot fill the history of databases, caches and queues: %w", err)
		}
	}
	return nil
}

// run pushes each minute as it comes, until ctx is done or the collector refuses for good.
func (o *observer) run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := o.push(ctx, []time.Time{time.Now().Truncate(time.Second)}); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (o *observer) push(ctx context.Context, minutes []time.Time) error {
	body, err := proto.Marshal(&metricspb.MetricsData{ResourceMetrics: o.observe(minutes)})
	if err != nil {
		return fmt.Errorf("cannot encode metrics: %w", err)
	}
	packed, err := o.compressor.compress(body)
	if err != nil {
		return err
	}
	_, err = o.pusher.push(ctx, packed)
	return err
}

// observe returns what is seen at these times.
func (o *observer) observe(minutes []time.Time) []*metricspb.ResourceMetrics {
	var all []*metricspb.ResourceMetrics
	for _, i := range o.company.Instances {
		s := sheet{instance: i, metrics: map[string]*metricspb.Metric{}}
		switch i.System {
		case "postgresql":
			s.each(o, minutes, s.postgres)
			all = append(all, s.resource(i.Space, "server.address", i.Address))
		case "redis":
			s.each(o, minutes, s.redis)
			all = append(all, s.resource(i.Space, "server.address", i.Address))
		case "rabbitmq":
			for name, product := range queueOwners {
				q := sheet{instance: i, metrics: map[string]*metricspb.Metric{}}
				q.each(o, minutes, q.queue)
				all = append(all, q.resource(product, "rabbitmq.queue.name", name))
			}
		}
	}
	return all
}

// sheet gathers the metrics of one server.
type sheet struct {
	instance *Instance
	metrics  map[string]*metricspb.Metric
	order    []*metricspb.Metric
	at       time.Time
	load     float64 // 0 to 1
	slow     float64 // how many times longer than usual everything takes
}

func (s *sheet) each(o *observer, minutes []time.Time, what func()) {
	for _, t := range minutes {
		s.at, s.slow = t, 1
		for _, e := range o.schedule.Effects(t.Sub(o.live)) {
			if e.Slow != nil && e.Slow.Instance == s.instance {
				s.slow = e.Slow.Times
			}
		}
		hours := t.Sub(countersBegan).Hours()
		s.load = .5 + .3*math.Sin(hours*2*math.Pi/24+float64(s.instance.Index)) + .1*math.Sin(hours*47)
		what()
	}
}

func (s *sheet) postgres() {
	s.level("postgresql.backends", min(98, 8+34*s.load*s.slow))
	s.level("postgresql.connection.max", 100)
	s.counter("postgresql.commits", 180)
	s.counter("postgresql.rollbacks", 1.5)
	s.level("postgresql.wal.lag", .05*s.load*s.slow*s.slow, "operation", "replay")
}

func (s *sheet) redis() {
	s.level("redis.clients.connected", 20+40*s.load)
	s.counter("redis.keyspace.hits", 420)
	s.counter("redis.keyspace.misses", 31)
	s.counter("redis.keys.evicted", 2)
	s.level("redis.memory.used", math.Round((1.1+.7*s.load)*(1<<30)))
	s.level("redis.maxmemory", 2<<30)
}

func (s *sheet) queue() {
	s.level("rabbitmq.message.current", math.Round(30*s.load*s.slow*s.slow), "state", "ready")
	s.level("rabbitmq.message.current", math.Round(4+8*s.load), "state", "unacknowledged")
	s.counter("rabbitmq.message.published", 24)
	s.counter("rabbitmq.message.delivered", 24)
	s.level("rabbitmq.consumer.count", 6)
}

// level adds a gauge, with one attribute or none.
func (s *sheet) level(name string, v float64, attribute ...string) {
	m := s.metric(name, func(m *metricspb.Metric) { m.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{}} })
	m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, s.point(v, attribute))
}

// counter adds a running sum that grows by about perSecond, faster by day than by night and never back.
func (s *sheet) counter(name string, perSecond float64) {
	m := s.metric(name, func(m *metricspb.Metric) {
		m.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{IsMonotonic: true, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE}}
	})
	const day = 24 * 3600 / (2 * math.Pi)
	seconds := s.at.Sub(countersBegan).Seconds()
	p := s.point(math.Round(perSecond*(seconds-.6*day*math.Cos(seconds/day+float64(s.instance.Index)))), nil)
	p.StartTimeUnixNano = uint64(countersBegan.UnixNano())
	m.GetSum().DataPoints = append(m.GetSum().DataPoints, p)
}

func (s *sheet) metric(name string, fill func(m *metricspb.Metric)) *metricspb.Metric {
	m := s.metrics[name]
	if m == nil {
		m = &metricspb.Metric{Name: name}
		fill(m)
		s.metrics[name] = m
		s.order = append(s.order, m)
	}
	return m
}

func (s *sheet) point(v float64, attribute []string) *metricspb.NumberDataPoint {
	p := &metricspb.NumberDataPoint{TimeUnixNano: uint64(s.at.UnixNano()), Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
	if len(attribute) == 2 {
		p.Attributes = append(p.Attributes, word(attribute[0], attribute[1]))
	}
	return p
}

func (s *sheet) resource(product, key, name string) *metricspb.ResourceMetrics {
	attributes := []*commonpb.KeyValue{word("service.namespace", product), word("service.name", s.instance.System), word(key, name)}
	if key == "server.address" {
		attributes = append(attributes, &commonpb.KeyValue{Key: "server.port", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: s.instance.Port}}})
	}
	return &metricspb.ResourceMetrics{
		Resource:     &resourcepb.Resource{Attributes: attributes},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: s.order}},
	}
}

func word(key, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

// to returns a pusher to another path of the same collector.
func (p *pusher) to(path string) *pusher {
	other := *p
	other.url = strings.TrimSuffix(p.url, tracesPath) + path
	return &other
}
