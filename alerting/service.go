package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// Options are what New needs.
type Options struct {
	Pool   *pgxpool.Pool // required; migrated, and with the rights of postgres.AppRole
	Logger *slog.Logger  // required

	Notifiers  []Notifier                                          // who is told; none is allowed
	ConsoleURL string                                              // where links begin, without a slash at the end
	Names      func(context.Context) (map[tenant.ID]string, error) // of tenants for people; by default the id
	Registerer prometheus.Registerer                               // for metrics; none by default

	ReopenWithin time.Duration // what burns again so soon continues its alert and thread; 10 min by default
	UpdateEvery  time.Duration // the pace of updates that are not urgent, an alert; 30 s by default
	RefreshEvery time.Duration // how old shown numbers may get while nobody joins or leaves; 5 min by default
	Senders      int           // deliveries at once; 4 by default
	SendTimeout  time.Duration // of one delivery, its wait for the pace included; 15 s by default
	LongestRetry time.Duration // between two attempts of a delivery that fails and may yet succeed; 1 min by default

	// PollOnly lets jobs be found by looking twice a second instead of by notifications, which do not come through a
	// pooler such as PgBouncer.
	PollOnly bool

	// Guests are what else sends by River. Among all clients of a database one leads, and throws away rescued jobs of kinds that it does
	// not know: so all kinds are worked by one client.
	Guests []Guest
}

// Guest is somebody else's jobs.
type Guest struct {
	Queue      string
	Senders    int                  // jobs at once
	Timeout    time.Duration        // the longest that one takes
	AddWorkers func(*river.Workers) // registers what works them
}

// Service keeps alerts and tells people. It is safe for concurrent use, also by several processes on one database.
type Service struct {
	Options
	log     *slog.Logger
	jobs    *river.Client[pgx.Tx] // inserts only; Run has the one that works
	metrics *metrics
}

// New checks the options and returns a Service that can observe and be asked. Notifications are sent while Run runs,
// in this process or another.
func New(o Options) (*Service, error) {
	if o.Pool == nil || o.Logger == nil {
		return nil, errors.New("cannot make alerting: Pool and Logger are required")
	}
	if o.ReopenWithin == 0 {
		o.ReopenWithin = 10 * time.Minute
	}
	if o.UpdateEvery == 0 {
		o.UpdateEvery = 30 * time.Second
	}
	if o.RefreshEvery == 0 {
		o.RefreshEvery = 5 * time.Minute
	}
	if o.Senders == 0 {
		o.Senders = 4
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = 15 * time.Second
	}
	if o.LongestRetry == 0 {
		o.LongestRetry = time.Minute
	}
	if o.Names == nil {
		o.Names = func(context.Context) (map[tenant.ID]string, error) { return nil, nil }
	}
	s := &Service{Options: o, log: o.Logger.With("component", "alerting"), metrics: newMetrics(o.Registerer)}
	jobs, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{Schema: postgres.RiverSchema, Logger: quiet(s.log)})
	if err != nil {
		return nil, fmt.Errorf("cannot make alerting's job client: %w", err)
	}
	s.jobs = jobs
	return s, nil
}

// AddWorkers registers what works the jobs in Queue, for a River client that somebody else runs.
func (s *Service) AddWorkers(w *river.Workers) { river.AddWorker(w, &deliverWorker{s: s}) }

// stopTime bounds how long Run waits for deliveries that are under way when it is told to stop.
const stopTime = 10 * time.Second

// Run sends notifications until ctx ends, and returns nil then. Deliveries under way are finished within a bound;
// those cut off are picked up by the next start or another process.
func (s *Service) Run(ctx context.Context) error {
	workers, queues, longest := river.NewWorkers(), map[string]river.QueueConfig{Queue: {MaxWorkers: s.Senders}}, s.SendTimeout
	s.AddWorkers(workers)
	for _, g := range s.Guests {
		g.AddWorkers(workers)
		queues[g.Queue], longest = river.QueueConfig{MaxWorkers: g.Senders}, max(longest, g.Timeout)
	}
	client, err := river.NewClient(riverpgxv5.New(s.Pool), &river.Config{
		Schema:               postgres.RiverSchema,
		Logger:               quiet(s.log),
		Workers:              workers,
		Queues:               queues,
		FetchPollInterval:    500 * time.Millisecond,
		PollOnly:             s.PollOnly,
		ReindexerIndexNames:  []string{}, // it would need the tables' owner, and vacuum does for a queue of this size
		JobTimeout:           s.SendTimeout,
		RescueStuckJobsAfter: 2 * longest, // of processes that died
	})
	if err != nil {
		return fmt.Errorf("cannot make alerting's job client: %w", err)
	}
	if err := s.retryFailed(ctx); err != nil {
		return err
	}
	// Not ctx: when that ends, deliveries go on until Stop, and River's own end is waited for.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("cannot start alerting's jobs: %w", err)
	}
	<-ctx.Done()
	soft, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := client.Stop(soft); err == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := client.StopAndCancel(hard); err != nil {
		return fmt.Errorf("cannot stop alerting's jobs: %w", err)
	}
	return nil
}

// names returns what people call the tenants. An alert does not wait for a name: without one it shows the id.
func (s *Service) names(ctx context.Context) map[tenant.ID]string {
	names, err := s.Names(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "cannot read the names of tenants", "error", err)
	}
	return names
}

// quiet passes River's warnings on and drops the rest: what a delivery did is logged and counted here.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(warnings{log.Handler()}).With("library", "river")
}

type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
