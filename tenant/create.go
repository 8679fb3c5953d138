package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// NewTenant says whom to take on.
type NewTenant struct {
	ID      ID     // as telemetry has it
	Name    string // for people
	Plan    Plan   // Starter by default
	Product string // the key is bound to it too; empty: to the tenant alone
}

// Onboarded is a tenant that was taken on.
type Onboarded struct {
	Tenant   Tenant
	Schema   string // of its own data in PostgreSQL
	Key      Key    // bound to it, for its telemetry
	KeyText  string // shown this once
	Returned bool   // it had been deleted before
}

// Onboarding takes tenants on. It is safe for concurrent use by several processes.
type Onboarding struct {
	store   *Store
	schemas *Schemas
	keys    *Keys
}

// NewOnboarding returns what makes tenants in the same database as these.
func NewOnboarding(store *Store, schemas *Schemas, keys *Keys) *Onboarding {
	return &Onboarding{store, schemas, keys}
}

// Create makes the tenant's row, its schema and a key that is bound to it and may only push, in one transaction with the
// audit log and what webhooks tell. A tenant that was deleted comes back so: from then on its telemetry is recorded again. The error is Conflict
// when there is such a tenant, and while it is being deleted.
func (o *Onboarding) Create(ctx context.Context, actor string, n NewTenant) (Onboarded, error) {
	t, err := Tenant{ID: n.ID, Name: n.Name, Plan: n.Plan}.checked()
	if err != nil {
		return Onboarded{}, err
	}
	key := NewKey{Name: "telemetry of " + string(t.ID), Scopes: []Scope{ScopeIngest}, Tenant: t.ID, Product: n.Product}
	if err := key.check(time.Now()); err != nil {
		return Onboarded{}, err
	}
	out := Onboarded{Tenant: t, Schema: SchemaName(t.ID), KeyText: NewKeyText()}
	err = postgres.InTenantSchema(ctx, o.schemas.owner, t.ID, out.Schema, func(tx pgx.Tx) error {
		if out.Returned, err = comeBack(ctx, tx, t.ID); err != nil {
			return err
		}
		if err := insertTenant(ctx, tx, t); err != nil {
			return err
		}
		if _, err := migrateSchemaIn(ctx, tx, t.ID, out.Schema, o.schemas.steps, true); err != nil {
			return fmt.Errorf("cannot make the schema of tenant %q: %w", t.ID, err)
		}
		if out.Key, err = insertKey(ctx, tx, actor, key, out.KeyText, nil); err != nil {
			return err
		}
		if err := auditKey(ctx, tx, actor, "key.create", nil, &out.Key); err != nil {
			return err
		}
		if err := o.store.outbox.put(ctx, tx, time.Now(), planChanged(nil, t)...); err != nil {
			return err
		}
		return Audit(ctx, tx, AuditEntry{Action: "tenant.create", Resource: string(t.ID), Tenant: t.ID, Actor: actor,
			After: map[string]any{"name": t.Name, "plan": t.Plan, "returned": out.Returned}})
	})
	if err != nil {
		return Onboarded{}, err
	}
	o.store.forget()
	o.keys.lookAgain(ctx)
	return out, nil
}

// insertTenant adds a tenant's row.
func insertTenant(ctx context.Context, tx pgx.Tx, t Tenant) error {
	var is Tenant
	err := tx.QueryRow(ctx, `SELECT id, name, plan FROM control.tenants WHERE id = $1`, t.ID).Scan(&is.ID, &is.Name, &is.Plan)
	if err == nil {
		return fault.New(fault.Conflict, "there is a tenant %q already, %q on %s: \"tenant set\" changes its name and plan, \"key create --tenant\" makes it another key",
			t.ID, is.DisplayName(), is.Plan)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = tx.Exec(ctx, `INSERT INTO control.tenants (id, name, plan) VALUES ($1, $2, $3)`, t.ID, t.Name, t.Plan)
	}
	if err != nil {
		return fmt.Errorf("cannot store tenant %q: %w", t.ID, err)
	}
	return nil
}

// comeBackWait bounds how long a creation waits for who works on the tenant's deletion, or looks whether anything came late.
const comeBackWait = "5s"

// comeBack ends the deletion of a tenant, and reports whether there was one. It holds the deletion's lock until the transaction
// ends: nobody who has read that the tenant is gone erases what is made here. The lock comes before that of the row, which who
// holds it changes.
func comeBack(ctx context.Context, tx pgx.Tx, id ID) (was bool, err error) {
	_, err = tx.Exec(ctx, `SELECT set_config('lock_timeout', $3, true), pg_advisory_xact_lock($1, hashtext($2))`, departureLock, id, comeBackWait)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" { // lock_not_available
		return false, fault.Wrap(err, fault.Conflict, "tenant %q is being created, or what came late after its deletion erased: try again in a minute", id)
	}
	if err != nil {
		return false, fmt.Errorf("cannot wait for the deletion of tenant %q: %w", id, err)
	}
	var state string
	err = tx.QueryRow(ctx, `SELECT state FROM control.deleted_tenants WHERE id = $1 AND ended_at IS NULL FOR UPDATE`, id).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read whether tenant %q was deleted: %w", id, err)
	case state != deletionDone:
		return false, fault.New(fault.Conflict, "tenant %q is being deleted: create it when that has ended, see \"tenant delete\"", id)
	}
	if _, err := tx.Exec(ctx, `UPDATE control.deleted_tenants SET ended_at = now() WHERE id = $1`, id); err != nil {
		return false, fmt.Errorf("cannot let tenant %q come back: %w", id, err)
	}
	return true, nil
}

// asDeleted turns the refusal of a deleted tenant's row by PostgreSQL into a Conflict that says what to do.
func asDeleted(err error, id ID) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "HR001" { // of control.refuse_deleted_tenant
		return fault.Wrap(err, fault.Conflict, "tenant %q was deleted: \"tenant create\" takes it on again", id)
	}
	return err
}

// checked returns the tenant with its defaults, or what is wrong with it.
func (t Tenant) checked() (Tenant, error) {
	if t.ID == Untagged {
		return t, fault.InvalidField("tenant", "", "must not be empty")
	}
	if _, err := ParseID(string(t.ID)); err != nil {
		return t, err
	}
	if t.Plan == "" {
		t.Plan = Starter
	}
	if _, err := ParsePlan(string(t.Plan)); err != nil {
		return t, err
	}
	if len(t.Name) > 200 {
		return t, fault.InvalidField("name", t.Name, "is longer than 200 bytes")
	}
	return t, nil
}
