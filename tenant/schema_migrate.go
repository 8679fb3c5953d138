package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
)

// schemaDatabase is what results and errors call the schemas of all tenants.
const schemaDatabase = "PostgreSQL's tenant schemas"

// schemaLockTimeout bounds how long a migration waits for others' transactions: one tenant's must not hold up the rest.
const schemaLockTimeout = "10s"

// SchemaReport says what a run of migrations did to the schemas of all tenants.
type SchemaReport struct {
	Schemas  int             // all there are
	Version  int64           // the one that they are to have
	Migrated int             // brought to it by this run
	Pending  int             // with check: how many are behind
	Failed   []SchemaFailure // by tenant; they are as they were before, and the next run tries again
	Took     time.Duration
}

// SchemaFailure is a schema that could not be migrated.
type SchemaFailure struct {
	Tenant ID
	Schema string
	Err    error
}

// schemaStep is one migration of a tenant's schema.
type schemaStep struct {
	version int64
	file    string
	sql     string
}

func readSchemaSteps(files fs.FS) ([]schemaStep, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("cannot list the migrations of tenants' schemas: %w", err)
	}
	slices.Sort(names)
	steps := make([]schemaStep, 0, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i)+1 {
			return nil, fmt.Errorf("cannot order the migrations of tenants' schemas: %q should have number %d", name, i+1)
		}
		sql, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read migration %q: %w", name, err)
		}
		steps = append(steps, schemaStep{version, name, string(sql)})
	}
	return steps, nil
}

// MigrateSchemas brings the schema of every tenant to this binary's version, several at a time and each in a transaction of
// its own, so that an interrupted run goes on where it was. One that fails holds up no other; the error says how many did.
// With check it changes nothing. See migrations.Up for the errors. Schema control is migrated.
func MigrateSchemas(ctx context.Context, owner *pgxpool.Pool, check bool) (SchemaReport, error) {
	return migrateSchemas(ctx, owner, migrations.Tenant(), check)
}

func migrateSchemas(ctx context.Context, owner *pgxpool.Pool, files fs.FS, check bool) (r SchemaReport, err error) {
	started := time.Now()
	steps, err := readSchemaSteps(files)
	if err != nil {
		return r, err
	}
	r.Version = int64(len(steps))
	var behind []ID
	oldest, newest := r.Version, int64(0)
	err = postgres.AcrossTenants(ctx, owner, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT tenant, version FROM control.tenant_schemas ORDER BY tenant`)
		if err != nil {
			return err
		}
		var id ID
		var version int64
		_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
			r.Schemas++
			oldest, newest = min(oldest, version), max(newest, version)
			if version < r.Version {
				behind = append(behind, id)
			}
			return nil
		})
		return err
	})
	switch {
	case err != nil:
		return r, fmt.Errorf("cannot read the versions of tenants' schemas: %w", err)
	case newest > r.Version:
		return r, &migrations.NewerError{Database: schemaDatabase, Have: newest, Know: r.Version}
	case check && len(behind) > 0:
		r.Pending = len(behind)
		return r, &migrations.PendingError{Database: schemaDatabase, Have: oldest, Want: r.Version}
	}
	migrateAll(ctx, owner, steps, behind, &r)
	r.Took = time.Since(started)
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("cannot migrate all tenants' schemas: %w", err)
	}
	if len(r.Failed) > 0 {
		return r, fmt.Errorf("cannot migrate the schemas of %d of %d tenants, the first of them %q: %w",
			len(r.Failed), r.Schemas, r.Failed[0].Tenant, r.Failed[0].Err)
	}
	return r, nil
}

// migrateAll works through the ids and adds to the report.
func migrateAll(ctx context.Context, owner *pgxpool.Pool, steps []schemaStep, ids []ID, r *SchemaReport) {
	next := make(chan ID)
	var mu sync.Mutex // guards r
	var wg sync.WaitGroup
	for range min(2*runtime.GOMAXPROCS(0), int(owner.Config().MaxConns)-1, len(ids)) {
		wg.Go(func() {
			for id := range next {
				changed, err := migrateSchema(ctx, owner, id, steps, false)
				mu.Lock()
				switch {
				case err != nil && ctx.Err() == nil:
					r.Failed = append(r.Failed, SchemaFailure{Tenant: id, Schema: SchemaName(id), Err: err})
				case changed:
					r.Migrated++
				}
				mu.Unlock()
			}
		})
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		next <- id
	}
	close(next)
	wg.Wait()
	slices.SortFunc(r.Failed, func(a, b SchemaFailure) int { return strings.Compare(string(a.Tenant), string(b.Tenant)) })
}

// migrateSchema brings one tenant's schema to the last step, in one transaction. With create it makes the schema if there
// is none. It reports whether there was anything to do.
func migrateSchema(ctx context.Context, owner *pgxpool.Pool, id ID, steps []schemaStep, create bool) (changed bool, err error) {
	name := SchemaName(id)
	err = postgres.InTenantSchema(ctx, owner, id, name, func(tx pgx.Tx) error {
		changed, err = migrateSchemaIn(ctx, tx, id, name, steps, create)
		return err
	})
	return changed && err == nil, err
}

// migrateSchemaIn is migrateSchema within a transaction of the tenant and its schema.
func migrateSchemaIn(ctx context.Context, tx pgx.Tx, id ID, name string, steps []schemaStep, create bool) (changed bool, err error) {
	if create { // a second process waits here for the first, and then finds nothing to do
		tag, err := tx.Exec(ctx, `INSERT INTO control.tenant_schemas (tenant, name) VALUES ($1, $2) ON CONFLICT (tenant) DO NOTHING`, id, name)
		if err != nil {
			return false, err
		}
		if tag.RowsAffected() == 1 {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{name}.Sanitize()); err != nil {
				return false, err
			}
		}
	}
	var version int64
	err = tx.QueryRow(ctx, `SELECT version FROM control.tenant_schemas WHERE tenant = $1 FOR UPDATE`, id).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil // deleted since it was listed
	}
	if err != nil || version >= int64(len(steps)) {
		return false, err
	}
	for _, step := range steps[version:] {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+schemaLockTimeout+"'; "+step.sql); err != nil {
			return false, fmt.Errorf("migration %s: %w", step.file, err)
		}
	}
	_, err = tx.Exec(ctx, `
		WITH wall AS MATERIALIZED (SELECT control.wall_in($2, $1))
		UPDATE control.tenant_schemas SET version = $3, migrated_at = now() FROM wall WHERE tenant = $1`, id, name, len(steps))
	return err == nil, err
}
