package tenant

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

const (
	// keyPoll is how often PostgreSQL is asked whether keys have changed. With keyPace and the time that a query takes, it
	// bounds how long a revoked key works on other instances when no notification comes.
	keyPoll = 500 * time.Millisecond
	// keyPace is the least time from one such question to the next, so that unknown keys cannot make them a flood.
	keyPace = 20 * time.Millisecond
	// keyTimeout bounds one question, and how long a call with an unknown key waits.
	keyTimeout = 2 * time.Second
	// keysKept is how long keys that have ended are known, so that their owners are told what became of them. Later they
	// are unknown.
	keysKept = 30 * 24 * time.Hour

	// A listener that lost its connection connects again after a pause between these two, which doubles each time.
	minListenPause = 100 * time.Millisecond
	maxListenPause = 10 * time.Second
	// closeTimeout bounds how long it waits for PostgreSQL to take its leave.
	closeTimeout = time.Second
)

// KeyChannel is what PostgreSQL notifies when a key has changed.
const KeyChannel = "headroom_keys"

// KeyListener is the application_name of the connection that listens to it.
const KeyListener = "headroom keys"

var (
	keyReadsFailed  = metrics.NewCounter("headroom_key_reads_failed_total")
	keyListensEnded = metrics.NewCounter("headroom_key_listener_lost_total")
)

// keyTable is all keys as they stood at a generation of control.api_key_changes. It is never changed.
type keyTable struct {
	generation int64
	keys       map[string]*knownKey // by prefix
}

// nothingRead is the generation that makes the next refresh read everything.
const nothingRead = -1

// refresh is one reading of what has changed. Any number of calls wait for it.
type refresh struct {
	done chan struct{}
	err  error // set before done is closed
}

// refresh makes the table as new as PostgreSQL's was when the call began, at least. The error is Unavailable.
func (k *Keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	r := k.next
	if r == nil {
		r = &refresh{done: make(chan struct{})}
		k.next = r
		go k.run(r)
	}
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "API keys cannot be checked now")
	}
}

// run waits for the refresh before it to end. Who asks for one when this has begun gets the next: this one may have read
// already.
func (k *Keys) run(r *refresh) {
	k.reading <- struct{}{}
	defer func() { <-k.reading }()
	time.Sleep(time.Until(k.readAt.Add(keyPace)))
	k.mu.Lock()
	k.next = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	if err := k.read(ctx); err != nil {
		// The server that answers next may be another, with another history: then everything is read again.
		k.table.Store(&keyTable{generation: nothingRead, keys: k.table.Load().keys})
		keyReadsFailed.Inc()
		r.err = fault.Wrap(err, fault.Unavailable, "API keys cannot be checked now")
	}
	k.readAt = time.Now()
	close(r.done)
}

// read asks for the generation, and for the keys that have changed if it is another.
func (k *Keys) read(ctx context.Context) error {
	known := k.table.Load()
	var generation, deleted int64
	if err := k.pool.QueryRow(ctx, `SELECT generation, deleted FROM control.api_key_changes`).Scan(&generation, &deleted); err != nil {
		return fmt.Errorf("cannot read whether API keys have changed: %w", err)
	}
	since := known.generation
	if generation == since {
		return nil
	}
	keys := maps.Clone(known.keys)
	if since == nothingRead || deleted > since || generation < since {
		since, keys = nothingRead, make(map[string]*knownKey)
	}
	// What was committed between the two queries is read here and once more the next time.
	err := postgres.AcrossTenants(postgres.OwnWork(ctx), k.pool, func(tx pgx.Tx) error { return readKeys(ctx, tx, since, known, keys) })
	if err != nil {
		return err
	}
	k.table.Store(&keyTable{generation: generation, keys: keys})
	return nil
}

// readKeys adds what has changed since the generation to keys.
func readKeys(ctx context.Context, tx pgx.Tx, since int64, known *keyTable, keys map[string]*knownKey) error {
	rows, err := tx.Query(ctx, `
		SELECT id, prefix, hash, name, scopes, coalesce(tenant, ''), coalesce(product, ''), expires_at, revoked_at
		FROM control.api_keys
		WHERE generation > $1 AND ($1 <> $2 OR least(expires_at, revoked_at, 'infinity') > now() - $3::interval)`,
		since, nothingRead, keysKept)
	if err != nil {
		return fmt.Errorf("cannot read API keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		n := &knownKey{}
		var hash []byte
		if err := rows.Scan(&n.KeyID, &n.prefix, &hash, &n.Name, &n.Scopes, &n.Tenant, &n.Product, &n.expiresAt, &n.revokedAt); err != nil {
			return fmt.Errorf("cannot read an API key: %w", err)
		}
		copy(n.hash[:], hash)
		if was := known.keys[n.prefix]; was != nil && was.KeyID == n.KeyID {
			n.use = was.use
		} else {
			n.use = &keyUse{}
		}
		keys[n.prefix] = n
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot read API keys: %w", err)
	}
	return nil
}

// Run follows what other instances change and records when keys are used, until ctx ends. Changes show at once by a
// notification; one that is lost costs keyPoll. The session that is notified connects as direct does, of which it takes no
// connection: it should be PostgreSQL itself, for a pooler in between keeps notifications to itself.
func (k *Keys) Run(ctx context.Context, log *slog.Logger, direct *pgxpool.Pool) error {
	log = log.With("component", "keys")
	changed := make(chan struct{}, 1)
	var parts sync.WaitGroup
	parts.Go(func() { listen(ctx, log, direct, KeyChannel, KeyListener, changed) })
	parts.Go(func() { k.recordUses(ctx, log) })
	defer parts.Wait()

	poll := time.NewTicker(keyPoll)
	defer poll.Stop()
	for failing := false; ; {
		err := k.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			log.Warn("API keys cannot be read: those that are known go on working, revoked ones too, until PostgreSQL answers", "error", err)
		case err == nil && failing:
			log.Info("API keys can be read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-changed:
		}
	}
}

// listen keeps a session of its own, of the given application_name, that PostgreSQL notifies of changes on a channel: one of a pool belongs to somebody else when the
// notification comes.
func listen(ctx context.Context, log *slog.Logger, direct *pgxpool.Pool, channel, name string, changed chan<- struct{}) {
	pause := minListenPause
	for {
		began := time.Now()
		err := hear(ctx, direct, channel, name, changed)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxListenPause { // it worked
			pause = minListenPause
		}
		keyListensEnded.Inc()
		log.Debug("the session that listens for changes ended, trying again", "channel", channel, "error", err, "delay", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)): // not all instances at once
		}
		pause = min(2*pause, maxListenPause)
	}
}

func hear(ctx context.Context, direct *pgxpool.Pool, channel, name string, changed chan<- struct{}) error {
	cfg := direct.Config().ConnConfig
	cfg.RuntimeParams["application_name"] = name
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // the session is over either way
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		select { // also when it begins: what was said before it listened is lost
		case changed <- struct{}{}:
		default: // somebody will look anyway
		}
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
