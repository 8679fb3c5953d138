package collector

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// Authenticator checks API keys. Its errors are of kinds fault.Unauthenticated and fault.Unavailable.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (tenant.Identity, error)
}

// Options are what New needs. Zero values of all but the first three get the defaults that are named.
type Options struct {
	ClickHouseDSN string        // required; see clickhouse.Config
	Dir           string        // required: the spool's directory, on a disk that keeps what is synced
	Auth          Authenticator // required
	Logger        *slog.Logger  // slog.Default()

	Quotas tenant.Quotas // what tenants and API keys may send; tenant.DefaultQuotas()
	Plans  Plans         // which plan each tenant has; without it, nobody has one

	Deleted Departures  // which tenants were deleted; without it, nobody was
	Agreed  QuotaSource // the quotas that hold in place of Quotas' as soon as they are known, but for keys; without it, Quotas hold

	TenantAttributes []string      // names of the attribute that holds the tenant id, the first found wins; tenant.id
	TenantLabels     []string      // the same of remote-write, for labels; tenant_id, tenant
	Retention        time.Duration // spans that started earlier are refused; 30 days
	MaxFuture        time.Duration // spans that end later than this from now are refused; 10 minutes

	MaxBody       int           // bytes of a request's body after decompression; 20 MiB
	MaxInflight   int64         // bytes of all bodies that are not acknowledged yet; 128 MiB
	MaxValue      int           // bytes of an attribute's value or a message, cut beyond; 4 KiB
	MaxName       int           // bytes of a name, route or attribute's key, cut beyond; 512
	MaxAttributes int           // of a span or resource, dropped beyond; 256
	MaxLabels     int           // bytes of the labels of a series, whose points are refused beyond; 16 KiB
	MaxBuckets    int           // of a histogram, which is refused beyond; 1,000
	MaxPoints     int           // of a request, in numbers that they are stored as, refused beyond; 250,000
	MaxNamed      int           // series that are remembered to have been named today; 500,000 (about 50 MB)
	MaxSeries     int           // series of today and yesterday that are remembered to be charged; 2,000,000 (about 40 MB)
	ReadTimeout   time.Duration // for reading one request; 30 s

	Linger          time.Duration // how long the first request of a batch waits for others; 20 ms
	SealAfter       time.Duration // age at which a segment is offered to ClickHouse; 700 ms
	MaxSegment      int64         // bytes at which it is offered whatever its age; 16 MiB
	MaxSegmentSpans int           // the same, in spans or numbers of points: it bounds ClickHouse's memory for one insert; 250,000
	MaxSpool        int64         // bytes of the spool beyond which requests get 503; 4 GiB
	MaxSpoolAge     time.Duration // age of what waits for ClickHouse, beyond which requests get 503; no limit
	KeepQuarantine  time.Duration // after which files that were put aside are removed; never
	InsertTimeout   time.Duration // for one insert, after which it is repeated; 2 minutes; longer when it takes longer
	AckTimeout      time.Duration // for storing a request, after which its client is told to send it again; 30 s
	StopTimeout     time.Duration // for emptying the spool when Run ends; 5 s
	DuplicateWindow time.Duration // how long a request is remembered; 10 minutes
	MaxReceipts     int           // how many are remembered at most; 1,000,000 (about 100 MB)

	// Of tests: a disk with faults, and a smaller reserve for smaller disks.
	disk        disk
	reserveSize int64
}

func (o *Options) setDefaults() error {
	switch {
	case o.ClickHouseDSN == "":
		return errors.New("cannot make a collector: Options.ClickHouseDSN is empty")
	case o.Dir == "":
		return errors.New("cannot make a collector: Options.Dir is empty")
	case o.Auth == nil:
		return errors.New("cannot make a collector: Options.Auth is nil")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("component", "collector")
	if len(o.TenantAttributes) == 0 {
		o.TenantAttributes = []string{"tenant.id"}
	}
	setDefault(&o.Quotas, tenant.DefaultQuotas())
	if len(o.TenantLabels) == 0 {
		o.TenantLabels = []string{"tenant_id", "tenant"}
	}
	setDefault(&o.Retention, 30*24*time.Hour)
	setDefault(&o.MaxFuture, 10*time.Minute)
	setDefault(&o.MaxBody, 20<<20)
	setDefault(&o.MaxInflight, 128<<20)
	setDefault(&o.MaxValue, 4<<10)
	setDefault(&o.MaxName, 512)
	setDefault(&o.MaxAttributes, 256)
	setDefault(&o.MaxLabels, 16<<10)
	setDefault(&o.MaxBuckets, 1000)
	setDefault(&o.MaxPoints, 250_000)
	setDefault(&o.MaxNamed, 500_000)
	setDefault(&o.MaxSeries, maxShown)
	setDefault(&o.ReadTimeout, 30*time.Second)
	setDefault(&o.Linger, 20*time.Millisecond)
	setDefault(&o.SealAfter, 700*time.Millisecond)
	setDefault(&o.MaxSegment, 16<<20)
	setDefault(&o.MaxSegmentSpans, 250_000)
	setDefault(&o.MaxSpool, 4<<30)
	setDefault(&o.InsertTimeout, 2*time.Minute)
	setDefault(&o.AckTimeout, 30*time.Second)
	setDefault(&o.StopTimeout, 5*time.Second)
	setDefault(&o.DuplicateWindow, 10*time.Minute)
	setDefault(&o.MaxReceipts, 1_000_000)
	setDefault(&o.disk, disk(osDisk{}))
	setDefault(&o.reserveSize, reserveSize)
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Collector receives spans. Make it with New.
type Collector struct {
	opts      Options
	spool     *spool
	window    *window
	committer *committer
	inserter  *inserter
	writer    *writer
	handler   http.Handler
	zstd      zstdDecoders
	unpacking *gate // a place for each decoder
	limiter   *limiter
	departed  *departed    // nil without Options.Deleted
	memory    *memory      // of bodies that are not acknowledged
	decoding  *gate        // a place for each lane
	fromJSONs *gate        // one place: JSON takes many times its size while it is turned into protobuf
	quiet     atomic.Int64 // Unix nanoseconds of the next log line about refused requests
}

// New opens the spool, mends what a crash left, and returns a collector that stores nothing before Run is called. It
// does not connect to ClickHouse. When the spool's disk cannot be used, the collector refuses everything with 503 and
// tries again; that another process uses the spool is an error.
func New(o Options) (*Collector, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	cfg, err := clickhouse.ParseDSN(o.ClickHouseDSN)
	if err != nil {
		return nil, err
	}
	sp := newSpool(o.disk, spoolOptions{
		dir: o.Dir, log: o.Logger, maxSegment: o.MaxSegment, maxSpans: o.MaxSegmentSpans, maxBytes: o.MaxSpool, maxAge: o.MaxSpoolAge,
		remembered: o.DuplicateWindow, reserveSize: o.reserveSize,
	})
	named := newNamedSeries(o.MaxNamed / 2)
	sp.lost = named.forget // names of series may be among it
	c := &Collector{opts: o, spool: sp, window: newWindow(o.DuplicateWindow, o.MaxReceipts), zstd: newZstdDecoders(runtime.GOMAXPROCS(0))}
	c.limiter, c.memory = newLimiter(o.Quotas, o.Plans, o.Logger, time.Now()), newMemory(o.MaxInflight)
	c.limiter.agreed = o.Agreed
	if err := c.openSpool(time.Now()); errors.Is(err, errInUse) {
		return nil, err
	} else if err != nil {
		o.Logger.Error("every request gets a 503 until the spool can be used", "error", err)
	}
	c.committer = newCommitter(sp, c.window, named, decodeOptions{
		tenantAttributes: o.TenantAttributes, tenantLabels: o.TenantLabels, maxFuture: o.MaxFuture, retention: o.Retention,
		maxValue: o.MaxValue, maxName: o.MaxName, maxAttributes: o.MaxAttributes, maxExpansion: maxExpansion,
		maxLabels: o.MaxLabels, maxBuckets: o.MaxBuckets, maxPoints: o.MaxPoints,
	}, runtime.GOMAXPROCS(0))
	c.limiter.room.max = int64(o.MaxSeries)
	c.committer.limit(c.limiter)
	c.decoding, c.unpacking, c.fromJSONs = newGate(len(c.committer.lanes)), newGate(cap(c.zstd)), newGate(1)
	c.committer.linger, c.committer.sealAfter, c.committer.maxBatch, c.committer.patience = o.Linger, o.SealAfter, maxBatch, o.AckTimeout
	c.inserter = newInserter(cfg)
	c.writer = &writer{spool: sp, insert: c.inserter.insert, timeout: o.InsertTimeout, log: o.Logger, tokenLife: tokenLife, maxDays: maxDays(o.Retention)}
	if o.Deleted != nil {
		c.departed = c.newDeparted()
		c.writer.dropped, c.writer.without = c.departed.dropped, c.inserter.without
	}
	c.handler = c.routes()
	return c, nil
}

const (
	maxBatch     = 4 << 20  // bytes of bodies that make a batch which does not wait for more
	maxLane      = 32 << 20 // bytes of columns after which a lane takes no more before they are stored
	maxExpansion = 64 << 20 // bytes of what metrics' points share, repeated, that one request may come to
)

// Run stores what arrives until ctx is done. Then it commits what was accepted, refuses the rest with 503, and empties
// the spool into ClickHouse as far as StopTimeout allows; what is left waits on disk for the next start. A collector runs
// once.
func (c *Collector) Run(ctx context.Context) error {
	defer c.spool.release()
	gauges := c.gauges()
	vm.RegisterSet(gauges)
	defer vm.UnregisterSet(gauges, true)
	var wg sync.WaitGroup
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	wg.Go(func() { c.departed.run(writing) })
	wg.Go(func() {
		if c.departed.await(writing) {
			c.writer.run(writing)
		}
	})
	wg.Go(func() { c.keepHouse(ctx) })
	wg.Go(func() { c.limiter.run(writing) })
	wg.Go(func() { c.learnNames(writing) })
	c.committer.run(ctx)
	// An insert that runs now may end: it is repeated otherwise.
	bound := time.AfterFunc(c.opts.StopTimeout, stopWriting)
	defer bound.Stop()
	c.awaitEmpty(writing)
	stopWriting()
	wg.Wait()
	c.inserter.client.CloseIdleConnections()
	return nil
}

// Ready returns why no request is taken, whoever sends it; nil when they are.
func (c *Collector) Ready(context.Context) error {
	if !c.spool.takes() {
		return errors.New("the spool's disk cannot be written")
	}
	return c.departed.refusal()
}

// openSpool makes the spool usable, with the requests known that it has acknowledged.
func (c *Collector) openSpool(now time.Time) error {
	receipts, err := c.spool.start(now)
	if err != nil {
		return err
	}
	c.window.restore(receipts)
	c.spool.use()
	return nil
}

// keepHouse does until ctx is done what the spool needs now and then: while its disk cannot be used, it tries to.
func (c *Collector) keepHouse(ctx context.Context) {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if c.spool.isUsable() {
			c.spool.housekeep(c.opts.KeepQuarantine, time.Now())
		} else if err := c.openSpool(time.Now()); err != nil {
			metrics.spoolErrors.Inc()
			c.opts.Logger.Error("every request gets a 503 until the spool can be used", "error", err)
		}
	}
}

// awaitEmpty returns when the spool is empty, ClickHouse fails, or ctx is done.
func (c *Collector) awaitEmpty(ctx context.Context) {
	tick := time.NewTicker(sealTick)
	defer tick.Stop()
	for {
		if _, n, _ := c.spool.backlog(); n == 0 {
			return
		}
		if _, failed := c.writer.last(); failed != "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
