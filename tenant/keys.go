package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// A key is hr_PREFIX_SECRET: the prefix finds its row, the secret has 160 random bits, so one SHA-256 is enough to
// store it by (slow hashes are for what people choose).
const (
	keyMark     = "hr"
	prefixBytes = 5
	secretBytes = 20
)

// keyCacheTTL, and the time that one query takes, bound how long a revoked key still works on an instance that did not
// revoke it.
const keyCacheTTL = time.Second

// keyTimeout bounds how long a call waits for PostgreSQL to check its key.
const keyTimeout = 2 * time.Second

// maxKeyQueries bounds how many connections the checks of keys hold: whoever sends keys of their own making must not keep
// the others from PostgreSQL.
const maxKeyQueries = 6

// maxCachedKeys bounds the cache; it is emptied when full, which costs one query a key.
const maxCachedKeys = 10_000

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Key is an API key as it is listed: the secret is shown once, when it is made.
type Key struct {
	ID         int64
	Prefix     string
	Name       string
	Scopes     []Scope
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
	LastUsedAt *time.Time
}

// Keys makes and checks API keys. It is safe for concurrent use.
type Keys struct {
	pool    *pgxpool.Pool
	queries chan struct{} // holds one for each check under way

	mu    sync.Mutex // guards cache; never held across a query
	cache map[[sha256.Size]byte]cachedKey
}

type cachedKey struct {
	id        Identity
	expiresAt *time.Time
	until     time.Time
}

// NewKeys returns the keys stored in the pool's database.
func NewKeys(pool *pgxpool.Pool) *Keys {
	return &Keys{pool: pool, queries: make(chan struct{}, maxKeyQueries), cache: make(map[[sha256.Size]byte]cachedKey)}
}

// Create makes a key and returns it with its text, which is stored nowhere.
func (k *Keys) Create(ctx context.Context, name string, scopes []Scope, expiresAt *time.Time) (Key, string, error) {
	if name = strings.TrimSpace(name); name == "" || len(name) > 200 {
		return Key{}, "", fault.InvalidField("name", name, "must have 1 to 200 bytes")
	}
	if len(scopes) == 0 {
		return Key{}, "", fault.InvalidField("scopes", "", "must name at least one scope")
	}
	text := NewKeyText()
	key, err := k.insert(ctx, name, scopes, expiresAt, text)
	return key, text, err
}

// NewKeyText returns the text of a new random key.
func NewKeyText() string {
	var b [prefixBytes + secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return keyMark + "_" + base32Lower.EncodeToString(b[:prefixBytes]) + "_" + base32Lower.EncodeToString(b[prefixBytes:])
}

// Ensure stores a key of the given text unless it is there already: the caller wrote the text to a file before, so a
// crash between the two leaves no key that nobody knows. The error is Unauthenticated for a key that was revoked or has
// expired, and for a text that is no key.
func (k *Keys) Ensure(ctx context.Context, name string, scopes []Scope, text string) error {
	_, refused := k.Authenticate(ctx, text)
	if !fault.Is(refused, fault.Unauthenticated) {
		return refused
	}
	_, err := k.insert(ctx, name, scopes, nil, text)
	if fault.Is(err, fault.Conflict) { // it was there, and no longer works
		return refused
	}
	return err
}

func (k *Keys) insert(ctx context.Context, name string, scopes []Scope, expiresAt *time.Time, text string) (Key, error) {
	prefix, err := keyPrefix(text)
	if err != nil {
		return Key{}, err
	}
	hash := sha256.Sum256([]byte(text))
	key := Key{Prefix: prefix, Name: name, Scopes: scopes, ExpiresAt: expiresAt}
	err = k.pool.QueryRow(ctx, `
		INSERT INTO control.api_keys (prefix, hash, name, scopes, expires_at)
		VALUES ($1, $2, $3, $4, $5)
		RETURNING id, created_at`, prefix, hash[:], name, scopes, expiresAt).Scan(&key.ID, &key.CreatedAt)
	if err != nil {
		return Key{}, postgres.Translate(err)
	}
	return key, nil
}

// List returns all keys, the newest first.
func (k *Keys) List(ctx context.Context) ([]Key, error) {
	rows, err := k.pool.Query(ctx, `
		SELECT id, prefix, name, scopes, created_at, expires_at, revoked_at, last_used_at
		FROM control.api_keys ORDER BY id DESC`)
	if err != nil {
		return nil, postgres.Translate(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
	return keys, postgres.Translate(err)
}

// Revoke ends the key of the prefix. Other instances follow within a second.
func (k *Keys) Revoke(ctx context.Context, prefix string) error {
	tag, err := k.pool.Exec(ctx, `UPDATE control.api_keys SET revoked_at = now() WHERE prefix = $1 AND revoked_at IS NULL`, prefix)
	if err != nil {
		return postgres.Translate(err)
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.NotFound, "no key with prefix %q that still works", prefix)
	}
	k.mu.Lock()
	clear(k.cache)
	k.mu.Unlock()
	return nil
}

// Authenticate returns whose key the text is. Its error is Unauthenticated for a key that is malformed, unknown,
// revoked or expired, and tells which without repeating the key.
//
// When PostgreSQL is away, keys that were checked before go on working, so that ingest survives it; unknown ones get
// Unavailable.
func (k *Keys) Authenticate(ctx context.Context, text string) (Identity, error) {
	prefix, err := keyPrefix(text)
	if err != nil {
		return Identity{}, err
	}
	hash := sha256.Sum256([]byte(text))
	now := time.Now()
	k.mu.Lock()
	cached, ok := k.cache[hash]
	fresh := ok && now.Before(cached.until)
	if ok && !fresh { // this call asks; others go by what was known until it has the answer
		cached.until = now.Add(keyTimeout)
		k.cache[hash] = cached
	}
	k.mu.Unlock()
	if fresh {
		return cached.check(now)
	}
	findCtx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	found, err := k.find(findCtx, prefix, hash)
	switch {
	case err == nil:
		found.until = now.Add(keyCacheTTL)
		k.mu.Lock()
		if len(k.cache) >= maxCachedKeys {
			clear(k.cache)
		}
		k.cache[hash] = found
		k.mu.Unlock()
		return found.check(now)
	case fault.Is(err, fault.Unauthenticated):
		k.mu.Lock()
		delete(k.cache, hash)
		k.mu.Unlock()
	case ok && ctx.Err() == nil:
		cached.until = time.Now().Add(keyCacheTTL) // ask a database that is away once a second, not at every call
		k.mu.Lock()
		k.cache[hash] = cached
		k.mu.Unlock()
		return cached.check(now)
	}
	return Identity{}, err
}

func (k *Keys) find(ctx context.Context, prefix string, hash [sha256.Size]byte) (cachedKey, error) {
	var (
		c       cachedKey
		stored  []byte
		revoked *time.Time
	)
	select {
	case k.queries <- struct{}{}:
		defer func() { <-k.queries }()
	case <-ctx.Done():
		return c, fault.Wrap(ctx.Err(), fault.Unavailable, "the API key cannot be checked now")
	}
	// last_used_at is written at most once a minute, so that ingest does not turn into updates of one row.
	err := k.pool.QueryRow(ctx, `
		WITH used AS (
			UPDATE control.api_keys SET last_used_at = now()
			WHERE prefix = $1 AND hash = $2 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
		)
		SELECT id, name, scopes, hash, expires_at, revoked_at FROM control.api_keys WHERE prefix = $1`, prefix, hash[:]).
		Scan(&c.id.KeyID, &c.id.Name, &c.id.Scopes, &stored, &c.expiresAt, &revoked)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, fault.New(fault.Unauthenticated, "the API key is unknown")
	}
	if err != nil {
		return c, fault.Wrap(err, fault.Unavailable, "the API key cannot be checked now")
	}
	if subtle.ConstantTimeCompare(stored, hash[:]) != 1 {
		return c, fault.New(fault.Unauthenticated, "the API key is unknown")
	}
	if revoked != nil {
		return c, fault.New(fault.Unauthenticated, "the API key %s_%s_… was revoked at %s", keyMark, prefix, revoked.UTC().Format(time.RFC3339))
	}
	return c, nil
}

func (c *cachedKey) check(now time.Time) (Identity, error) {
	if c.expiresAt != nil && !now.Before(*c.expiresAt) {
		return Identity{}, fault.New(fault.Unauthenticated, "the API key expired at %s", c.expiresAt.UTC().Format(time.RFC3339))
	}
	return c.id, nil
}

func keyPrefix(text string) (string, error) {
	if text == "" {
		return "", fault.New(fault.Unauthenticated, "no API key: send the header \"Authorization: Bearer hr_…\"")
	}
	parts := strings.Split(text, "_")
	if len(parts) != 3 || parts[0] != keyMark || !encodes(parts[1], prefixBytes) || !encodes(parts[2], secretBytes) {
		return "", fault.New(fault.Unauthenticated, "the API key is malformed: it has the form %s_…_…", keyMark)
	}
	return parts[1], nil
}

// encodes reports whether text is n bytes in base32. PostgreSQL would fail on bytes that are no text.
func encodes(text string, n int) bool {
	b, err := base32Lower.DecodeString(text)
	return err == nil && len(b) == n && len(text) == base32Lower.EncodedLen(n)
}

// String lists the scopes of a key for people.
func (k Key) String() string {
	return fmt.Sprintf("%s_%s_… %s %v", keyMark, k.Prefix, k.Name, k.Scopes)
}
