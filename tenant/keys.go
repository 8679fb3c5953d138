package tenant

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Key is an API key as it is listed: the secret is shown once, when it is made.
type Key struct {
	ID         int64
	Prefix     string
	Name       string
	Scopes     []Scope
	Tenant     ID     // what it is bound to; empty: no tenant
	Product    string // the same; empty: no product
	CreatedAt  time.Time
	CreatedBy  string // the actor, as the audit log has it; empty for keys from before there was one
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
	LastUsedAt *time.Time // within a minute or so
	Replaces   string     // prefix of the key whose rotation made it
}

// NewKey says what key to make.
type NewKey struct {
	Name      string // what it is for
	Scopes    []Scope
	Tenant    ID         // bind it to a tenant
	Product   string     // bind it to a product
	ExpiresAt *time.Time // nil: never
}

const (
	maxKeyName    = 200 // bytes
	maxKeyProduct = 200 // bytes, as the column's constraint has it
)

// maxOverlap is the longest that a key may go on beside the one that replaces it.
const maxOverlap = 90 * 24 * time.Hour

// Keys makes and checks API keys. It is safe for concurrent use.
//
// It knows all keys and asks PostgreSQL only for changes, so that a check costs no query (docs/keys.md says how). Run must
// run in every process that checks keys: without it, what others change is not seen.
type Keys struct {
	pool    *pgxpool.Pool
	table   atomic.Pointer[keyTable]
	reading chan struct{} // holds one while PostgreSQL is asked for changes
	readAt  time.Time     // when it was asked last; belongs to who has put that one

	mu   sync.Mutex // guards next; never held across a query
	next *refresh   // the one that has yet to begin; nil when nobody waits for one
}

// NewKeys returns the keys stored in the pool's database. It reads nothing yet.
func NewKeys(pool *pgxpool.Pool) *Keys {
	k := &Keys{pool: pool, reading: make(chan struct{}, 1)}
	k.table.Store(&keyTable{generation: nothingRead})
	return k
}

// Create makes a key, writes that to the audit log, and returns the key with its text, which is stored nowhere.
func (k *Keys) Create(ctx context.Context, actor string, n NewKey) (Key, string, error) {
	n.Name = strings.TrimSpace(n.Name)
	if err := n.check(time.Now()); err != nil {
		return Key{}, "", err
	}
	text := NewKeyText()
	key, err := k.store(ctx, actor, n, text)
	return key, text, err
}

func (n *NewKey) check(now time.Time) error {
	var wrong fault.List
	if n.Name == "" || len(n.Name) > maxKeyName || strings.ContainsFunc(n.Name, unicode.IsControl) {
		wrong = append(wrong, fault.InvalidField("name", n.Name, "must have 1 to %d bytes without control characters", maxKeyName))
	}
	if len(n.Scopes) == 0 {
		wrong = append(wrong, fault.InvalidField("scopes", "", "must name at least one of %s", joinScopes(Scopes())))
	}
	if _, err := ParseID(string(n.Tenant)); err != nil {
		wrong = append(wrong, fault.InvalidField("tenant", string(n.Tenant), "must have at most %d bytes without control characters", MaxIDLen))
	}
	if len(n.Product) > maxKeyProduct || strings.ContainsFunc(n.Product, unicode.IsControl) {
		wrong = append(wrong, fault.InvalidField("product", n.Product, "must have at most %d bytes without control characters", maxKeyProduct))
	}
	if n.Tenant != Untagged || n.Product != "" {
		for _, s := range n.Scopes {
			if !Allows(boundScopes, s) {
				wrong = append(wrong, fault.InvalidField("scopes", string(s), "is about all tenants: a key that is bound to a tenant or a product may have %s only",
					joinScopes(boundScopes)))
			}
		}
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(now) {
		wrong = append(wrong, fault.InvalidField("expires_at", n.ExpiresAt.Format(time.RFC3339), "must be in the future"))
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// keyFileActor is who made a key whose text was in a file before.
const keyFileActor = "headroom"

// Ensure stores a key of the given text unless it is there already: the caller wrote the text to a file before, so a
// crash between the two leaves no key that nobody knows. The error is Unauthenticated for a key that was revoked or has
// expired, and for a text that is no key.
func (k *Keys) Ensure(ctx context.Context, name string, scopes []Scope, text string) error {
	_, refused := k.Authenticate(ctx, text)
	if !fault.Is(refused, fault.Unauthenticated) {
		return refused
	}
	_, err := k.store(ctx, keyFileActor, NewKey{Name: name, Scopes: scopes}, text)
	if fault.Is(err, fault.Conflict) { // it was there, and no longer works
		return refused
	}
	return err
}

func (k *Keys) store(ctx context.Context, actor string, n NewKey, text string) (key Key, err error) {
	err = postgres.AcrossTenants(ctx, k.pool, func(tx pgx.Tx) error {
		if key, err = insertKey(ctx, tx, actor, n, text, nil); err != nil {
			return err
		}
		return auditKey(ctx, tx, actor, "key.create", nil, &key)
	})
	if err != nil {
		return Key{}, err
	}
	k.lookAgain(ctx)
	return key, nil
}

// lookAgain lets a change be seen here when it is told. It is made all the same if PostgreSQL goes away just now: Run
// looks until it is seen.
func (k *Keys) lookAgain(ctx context.Context) { _ = k.refresh(ctx) }

// insertKey adds the row of a new key. replaces is the id of the key that it replaces, if any.
func insertKey(ctx context.Context, tx pgx.Tx, actor string, n NewKey, text string, replaces *int64) (Key, error) {
	prefix, err := keyPrefix(text)
	if err != nil {
		return Key{}, err
	}
	hash := sha256.Sum256([]byte(text))
	key := Key{Prefix: prefix, Name: n.Name, Scopes: n.Scopes, Tenant: n.Tenant, Product: n.Product, CreatedBy: actor, ExpiresAt: n.ExpiresAt}
	err = tx.QueryRow(ctx, `
		INSERT INTO control.api_keys (prefix, hash, name, scopes, tenant, product, created_by, expires_at, replaces)
		VALUES ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), $7, $8, $9)
		RETURNING id, created_at`,
		prefix, hash[:], n.Name, n.Scopes, n.Tenant, n.Product, actor, n.ExpiresAt, replaces).Scan(&key.ID, &key.CreatedAt)
	if err != nil {
		return Key{}, fmt.Errorf("cannot store API key %q: %w", prefix, err)
	}
	return key, nil
}

// keyAudit is what the audit log has of a key: what it may do, not its secret.
type keyAudit struct {
	Name      string     `json:"name"`
	Scopes    []Scope    `json:"scopes"`
	Tenant    ID         `json:"tenant,omitempty"`
	Product   string     `json:"product,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Replaces  string     `json:"replaces,omitempty"`
}

func auditedKey(k *Key) any {
	if k == nil {
		return nil
	}
	return keyAudit{k.Name, k.Scopes, k.Tenant, k.Product, k.ExpiresAt, k.RevokedAt, k.Replaces}
}

// auditKey writes what was done to a key: what it was before, nil for a new one, and what it is now.
func auditKey(ctx context.Context, tx pgx.Tx, actor, action string, before, after *Key) error {
	return Audit(ctx, tx, AuditEntry{Action: action, Resource: after.Prefix, Tenant: after.Tenant, Before: auditedKey(before), After: auditedKey(after), Actor: actor})
}

const selectKeys = `
	SELECT k.id, k.prefix, k.name, k.scopes, coalesce(k.tenant, ''), coalesce(k.product, ''), k.created_at, k.created_by, k.expires_at,
		k.revoked_at, k.last_used_at, coalesce((SELECT r.prefix FROM control.api_keys r WHERE r.id = k.replaces), '')
	FROM control.api_keys k`

// List returns all keys, the newest first.
func (k *Keys) List(ctx context.Context) (keys []Key, err error) {
	err = postgres.AcrossTenants(ctx, k.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectKeys+` ORDER BY k.id DESC`)
		if err != nil {
			return fmt.Errorf("cannot read API keys: %w", err)
		}
		keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
		return err
	})
	return keys, err
}

// String says which key it is, for people.
func (k Key) String() string {
	return fmt.Sprintf("%s_%s_… %s %v", keyMark, k.Prefix, k.Name, k.Scopes)
}
