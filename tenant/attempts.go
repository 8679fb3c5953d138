package tenant

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// AttemptLimit is how many tries there are at once, and after which time one more is there.
type AttemptLimit struct {
	Burst int
	Every time.Duration
}

// AttemptLimits bound how often somebody may try to sign in. What succeeds costs nothing.
type AttemptLimits struct {
	Address AttemptLimit // from one address, an IPv6 network of 64 bits
	Pair    AttemptLimit // from one address into one account
	// Account bounds what all addresses together may try that the account has not signed in from lately. So many
	// addresses cannot guess faster than this, nor keep a person out where they usually are.
	Account AttemptLimit
	// Provider bounds how often one address may set out to the OpenID provider: anybody's page can send a browser there, which
	// must not use up the tries of those who have a password or a key.
	Provider AttemptLimit
}

// DefaultAttemptLimits allow one address 20 tries and then 10 a minute, and one account 5 from each address and then one
// every 30 seconds; to the provider 60, and then one every 2 seconds.
var DefaultAttemptLimits = AttemptLimits{
	Address: AttemptLimit{20, 6 * time.Second},
	Pair:    AttemptLimit{5, 30 * time.Second},
	Account: AttemptLimit{50, 12 * time.Second},

	Provider: AttemptLimit{60, 2 * time.Second},
}

// refusedAttempts counts tries that were refused before anything was looked at, by which limit.
var refusedAttempts = map[string]*metrics.Counter{
	"address": metrics.NewCounter(`headroom_refused_sign_ins_total{reason="address"}`),
	"pair":    metrics.NewCounter(`headroom_refused_sign_ins_total{reason="pair"}`),
	"account": metrics.NewCounter(`headroom_refused_sign_ins_total{reason="account"}`),

	"provider": metrics.NewCounter(`headroom_refused_sign_ins_total{reason="provider"}`),
}

// Attempts counts tries to sign in, in PostgreSQL, so that they count on all instances together. An account is
// whatever was given as its address, whether there is such a user or not: a limit tells nothing about that.
type Attempts struct {
	pool   *pgxpool.Pool
	limits AttemptLimits
}

// NewAttempts returns the attempts in the pool's database.
func NewAttempts(pool *pgxpool.Pool, limits AttemptLimits) *Attempts { return &Attempts{pool, limits} }

// Attempt is a try that was let through.
type Attempt struct {
	a       *Attempts
	buckets [][]byte
	costs   []time.Duration
}

// Begin takes a try. The error is Unavailable, with when there will be one. An empty account counts by address only.
func (a *Attempts) Begin(ctx context.Context, account string) (*Attempt, error) {
	from := network(OriginFrom(ctx).Address)
	account = strings.ToLower(strings.TrimSpace(account))
	t := &Attempt{a: a}
	if err := t.take(ctx, "address", a.limits.Address, from); err != nil {
		return nil, err
	}
	if account == "" {
		return t, nil
	}
	if err := t.take(ctx, "pair", a.limits.Pair, from, account); err != nil {
		return nil, err
	}
	var known bool
	err := a.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM control.users WHERE email = $1 AND $2 = ANY (known_from))`, plain(account), from).Scan(&known)
	if err != nil {
		return nil, postgres.Translate(fmt.Errorf("cannot read where an account is known from: %w", err))
	}
	if known {
		return t, nil
	}
	if err := t.take(ctx, "account", a.limits.Account, account); err != nil {
		return nil, err
	}
	return t, nil
}

// BeginProvider takes a try to go to the OpenID provider. The error is that of Begin.
func (a *Attempts) BeginProvider(ctx context.Context) (*Attempt, error) {
	t := &Attempt{a: a}
	return t, t.take(ctx, "provider", a.limits.Provider, network(OriginFrom(ctx).Address))
}

// ReturnProvider gives a try to go to the provider back: somebody has come back to the same address, and was let in.
func (a *Attempts) ReturnProvider(ctx context.Context) {
	(&Attempt{a, [][]byte{bucketOf("provider", network(OriginFrom(ctx).Address))}, []time.Duration{a.limits.Provider.Every}}).GiveBack(ctx)
}

func bucketOf(kind string, of ...string) []byte {
	hash := sha256.Sum256([]byte(kind + "\x00" + strings.Join(of, "\x00")))
	return hash[:]
}

// take takes one try from a bucket. A bucket is the moment at which all its tries are there again, which each try moves on
// (GCRA): one statement looks and takes, so that tries side by side cannot take more.
func (t *Attempt) take(ctx context.Context, kind string, l AttemptLimit, of ...string) error {
	bucket := bucketOf(kind, of...)
	var wait time.Duration
	err := t.a.pool.QueryRow(ctx, `
		WITH taken AS (
			INSERT INTO control.sign_in_attempts AS a (bucket, full_at) VALUES ($1, now() + $2)
			ON CONFLICT (bucket) DO UPDATE SET full_at = greatest(a.full_at, now()) + $2
			WHERE a.full_at <= now() + $2::interval * ($3::integer - 1)
			RETURNING full_at)
		SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN '0'::interval
			ELSE coalesce((SELECT full_at - now() - $2::interval * ($3::integer - 1) FROM control.sign_in_attempts WHERE bucket = $1), $2::interval) END`,
		bucket, l.Every, l.Burst).Scan(&wait)
	if err != nil {
		return postgres.Translate(fmt.Errorf("cannot count an attempt to sign in: %w", err))
	}
	if wait > 0 {
		refusedAttempts[kind].Inc()
		t.GiveBack(ctx) // what was taken before it: who waits for one limit does not use up the others
		wait = max(wait.Truncate(time.Second)+time.Second, time.Second)
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: wait, Err: ErrTooManyAttempts, Message: fmt.Sprintf("too many attempts to sign in: try again in %s", wait)}
	}
	t.buckets, t.costs = append(t.buckets, bucket), append(t.costs, l.Every)
	return nil
}

// ErrTooManyAttempts is in the error of Attempts.Begin.
var ErrTooManyAttempts = fmt.Errorf("too many attempts to sign in")

// GiveBack undoes the try: it has succeeded. It is no harm when that fails.
func (t *Attempt) GiveBack(ctx context.Context) {
	for i, b := range t.buckets {
		_, _ = t.a.pool.Exec(ctx, `UPDATE control.sign_in_attempts SET full_at = full_at - $2::interval WHERE bucket = $1`, b, t.costs[i])
	}
	t.buckets, t.costs = nil, nil
}

// Sweep removes what no longer matters.
func (a *Attempts) Sweep(ctx context.Context) error {
	_, err := a.pool.Exec(ctx, `DELETE FROM control.sign_in_attempts WHERE full_at < now()`)
	return postgres.Translate(err)
}
