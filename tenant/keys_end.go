package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Revoke ends the key of the prefix and writes that to the audit log. It works no more here when Revoke returns, and
// elsewhere within a second.
func (k *Keys) Revoke(ctx context.Context, actor, prefix string) error {
	err := postgres.AcrossTenants(ctx, k.pool, func(tx pgx.Tx) error {
		key, err := lockKey(ctx, tx, prefix)
		if err != nil {
			return err
		}
		was := key
		err = tx.QueryRow(ctx, `UPDATE control.api_keys SET revoked_at = now() WHERE id = $1 RETURNING revoked_at`, key.ID).Scan(&key.RevokedAt)
		if err != nil {
			return fmt.Errorf("cannot revoke API key %q: %w", prefix, err)
		}
		return auditKey(ctx, tx, actor, "key.revoke", &was, &key)
	})
	if err != nil {
		return err
	}
	k.lookAgain(ctx)
	return nil
}

// Rotate makes a key with the name, the scopes and the bounds of the one with the prefix, which ends after the overlap or
// when it would have ended anyway. If that one was made to expire, the new one lives as long as it was to. A key is
// rotated once: its successor is what is rotated next.
func (k *Keys) Rotate(ctx context.Context, actor, prefix string, overlap time.Duration) (old, successor Key, text string, err error) {
	if overlap < 0 || overlap > maxOverlap {
		return old, successor, "", fault.InvalidField("overlap", overlap.String(), "must be from 0s to %s", maxOverlap)
	}
	text = NewKeyText()
	err = postgres.AcrossTenants(ctx, k.pool, func(tx pgx.Tx) error {
		// The old key's row before all: who revokes a key locks its row first too, and then what counts the changes.
		if old, err = lockKey(ctx, tx, prefix); err != nil {
			return err
		}
		was := old
		var by string
		err := tx.QueryRow(ctx, `SELECT coalesce(max(prefix), '') FROM control.api_keys WHERE replaces = $1`, old.ID).Scan(&by)
		if err != nil {
			return fmt.Errorf("cannot read what replaces API key %q: %w", prefix, err)
		}
		if by != "" {
			return fault.New(fault.Conflict, "the key %q was rotated already: %q replaces it; rotate that one", prefix, by)
		}
		n := NewKey{Name: old.Name, Scopes: old.Scopes, Tenant: old.Tenant, Product: old.Product}
		if old.ExpiresAt != nil {
			end := time.Now().Add(old.ExpiresAt.Sub(old.CreatedAt))
			n.ExpiresAt = &end
		}
		if successor, err = insertKey(ctx, tx, actor, n, text, &old.ID); err != nil {
			return err
		}
		successor.Replaces = old.Prefix
		err = tx.QueryRow(ctx, `
			UPDATE control.api_keys SET expires_at = least(expires_at, now() + $2::interval) WHERE id = $1
			RETURNING expires_at`, old.ID, overlap).Scan(&old.ExpiresAt)
		if err != nil {
			return fmt.Errorf("cannot set the end of API key %q: %w", prefix, err)
		}
		return auditKey(ctx, tx, actor, "key.rotate", &was, &successor)
	})
	if err != nil {
		return Key{}, Key{}, "", err
	}
	k.lookAgain(ctx)
	return old, successor, text, nil
}

// lockKey returns the key of the prefix for a change. The error is NotFound unless it still works.
func lockKey(ctx context.Context, tx pgx.Tx, prefix string) (Key, error) {
	rows, err := tx.Query(ctx, selectKeys+`
		WHERE k.prefix = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) FOR UPDATE OF k`, prefix)
	if err != nil {
		return Key{}, fmt.Errorf("cannot read API key %q: %w", prefix, err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("cannot read API key %q: %w", prefix, err)
	case len(keys) == 0:
		return Key{}, &fault.Error{Kind: fault.NotFound, Field: "prefix", Value: prefix, Message: "no key with this prefix works"}
	}
	return keys[0], nil
}
