package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// AppRole is the role that headroom serves as. It owns no table and no row-level security is lifted for it. Migrations
// make it and grant what it may.
const AppRole = "headroom_app"

// OpenServing returns a pool whose connections have AppRole's rights. Without a pooler the user of the DSN assumes the
// role as it logs in: a setting of the session, which nothing that headroom sends takes back. With one that is not
// possible, for a pooler hands sessions on: there the user must be a member of AppRole and nothing else, and statements
// are not prepared by name, because PgBouncer before 1.21 does not know on which connection they are. CheckServing
// tells whether it worked.
func OpenServing(ctx context.Context, dsn string, pooler bool) (*pgxpool.Pool, error) {
	cfg, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	if !pooler {
		cfg.ConnConfig.RuntimeParams["role"] = AppRole
	} else if !strings.Contains(dsn, "default_query_exec_mode") {
		// Types are asked for once and remembered here; what is sent has no name there.
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	return open(ctx, cfg)
}

// CheckServing refuses a pool that could see past the walls between tenants: as a superuser, with BYPASSRLS, or as the
// owner of a table of theirs. The database is migrated.
func CheckServing(ctx context.Context, pool *pgxpool.Pool) error {
	var (
		user                      string
		superuser, bypass, member bool
		owns                      *string
	)
	err := pool.QueryRow(ctx, `
		SELECT r.rolname, r.rolsuper, r.rolbypassrls, pg_has_role(r.oid, $1, 'USAGE'), (
			SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE (n.nspname = 'control' OR n.nspname LIKE 't\_%') AND c.relkind IN ('r', 'p') AND pg_has_role(r.oid, c.relowner, 'USAGE')
			ORDER BY 1 LIMIT 1)
		FROM pg_roles r WHERE r.rolname = current_user`, AppRole).Scan(&user, &superuser, &bypass, &member, &owns)
	const remedy = "give --postgres a user that is only a member of " + AppRole + ", and --postgres-owner the one that owns the tables"
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "42704": // undefined_object
		return fmt.Errorf("PostgreSQL has no role %q: run \"headroom migrate\"", AppRole)
	case errors.As(err, &pg) && (pg.Code == "22023" || pg.Code == "42501"): // invalid_parameter_value, insufficient_privilege
		return fmt.Errorf("PostgreSQL does not let --postgres assume role %q, run \"headroom migrate\" or GRANT it: %w", AppRole, err)
	case errors.As(err, &pg) && pg.Code == "08P01": // protocol_violation
		return fmt.Errorf("cannot assume role %q through what seems to be a pooler: %s: %w", AppRole, remedy, err)
	case err != nil:
		return Translate(fmt.Errorf("cannot check the rights of --postgres: %w", err))
	case superuser:
		return fmt.Errorf("PostgreSQL user %q is a superuser, for whom no row-level security holds: %s", user, remedy)
	case bypass:
		return fmt.Errorf("PostgreSQL user %q has BYPASSRLS, so that no row-level security holds for it: %s", user, remedy)
	case owns != nil:
		return fmt.Errorf("PostgreSQL user %q owns table %s or is a member of its owner, and could lift its row-level security: %s", user, *owns, remedy)
	case !member:
		return fmt.Errorf("PostgreSQL user %q is no member of %s: as the owner of the role, run GRANT %s TO %s", user, AppRole, AppRole,
			pgx.Identifier{user}.Sanitize())
	}
	return nil
}
