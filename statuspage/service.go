package statuspage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are what a Service needs.
type Options struct {
	Pool    *pgxpool.Pool // required
	SLO     SLOReader     // required
	Dir     string        // holds the last good state, made when it is missing; required
	BaseURL string        // where people reach the pages, such as https://status.example.com; required
	Name    string        // of the operator; "Our service" by default
	Logger  *slog.Logger  // none by default

	Interval     time.Duration // between two looks at the databases, 5 s by default
	StaleAfter   time.Duration // from which age on the pages say how old they are, 2 min by default
	MaxIncidents int           // that have a page, the newest; 100 by default
	MaxMonths    int           // of history that have a page, 24 by default
	MaxEntries   int           // of the changelog that are shown, the newest; 200 by default
}

func (o *Options) check() error {
	if o.Pool == nil || o.SLO == nil || o.Dir == "" || o.BaseURL == "" {
		return fmt.Errorf("cannot make a status page without Pool, SLO, Dir and BaseURL")
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("cannot make a status page: BaseURL must be an http or https address (got %q)", o.BaseURL)
	}
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	if o.Name == "" {
		o.Name = "Our service"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Interval, 5 * time.Second}, {&o.StaleAfter, 2 * time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	for _, d := range []struct {
		v *int
		d int
	}{{&o.MaxIncidents, 100}, {&o.MaxMonths, 24}, {&o.MaxEntries, 200}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return nil
}

// Service is the status page: what is written to it, and what it publishes. It is safe for concurrent use.
type Service struct {
	o    Options
	log  *slog.Logger
	kick chan struct{} // something was written here; holds at most one

	site atomic.Pointer[site] // what is served; nil only before the first good look at the databases
	last atomic.Pointer[state]
}

// New returns a status page that serves the state that Dir holds, if any, at once and without a database. Run keeps it
// current.
func New(o Options) (*Service, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the status page's directory %q: %w", o.Dir, err)
	}
	s := &Service{o: o, log: o.Logger.With("component", "statuspage"), kick: make(chan struct{}, 1)}
	st, err := readSnapshot(s.snapshotFile())
	if err != nil { // a page that is rebuilt in a moment is better than none
		s.log.Error("the last good state cannot be read", "file", s.snapshotFile(), "error", err)
	}
	if st != nil {
		st.View.Name = o.Name
		s.last.Store(st)
		if err := s.render(st.View, time.Now()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Handler serves the public pages, feeds and JSON. It never touches a database.
func (s *Service) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Ready reports whether there is a state to serve, which a readiness check may ask.
func (s *Service) Ready(context.Context) error {
	if s.site.Load() == nil {
		return fmt.Errorf("the status page has not seen its databases yet")
	}
	return nil
}

// View returns what the public sees now; nil before the first good look at the databases. It must not be changed.
func (s *Service) View() *View {
	if st := s.last.Load(); st != nil {
		return st.View
	}
	return nil
}

// changed makes the publisher look at once.
func (s *Service) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// pageID names this status page in Statuspage's JSON; it is as stable as the page's address.
func (o *Options) pageID() string {
	sum := sha256.Sum256([]byte(o.BaseURL))
	return hex.EncodeToString(sum[:6])
}

// host returns the name that stands in tag URIs.
func (o *Options) host() string {
	u, _ := url.Parse(o.BaseURL) // checked by check
	return u.Hostname()
}
