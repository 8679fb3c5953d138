// Package migrations embeds the SQL that makes and changes both databases. Packages postgres and clickhouse run it.
//
// A file is NNNNN_name.sql in goose's format. It must be safe while the version before it serves: add first, use later,
// remove last. ClickHouse has no transactions, so there every statement must be one that can run again.
//
// PostgreSQL's row-level security holds for migrations too: one of schema control that changes rows of tenants says SET
// LOCAL headroom.crossing = 'on' first. A table there with a column tenant needs a policy, which a test looks for.
//
// Those of tenants' schemas (docs/adr/0007) are plain SQL without goose's marks, since nothing runs them backwards. Names
// in them carry no schema. Each runs once in every tenant's schema, in one transaction with those before and after it; while
// it runs for one tenant it has not for another, so code must do with both. A column's type never changes.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed postgres/control/*.sql
var control embed.FS

//go:embed postgres/tenant/*.sql
var tenant embed.FS

//go:embed clickhouse/*.sql
var clickHouse embed.FS

// Control returns the migrations of PostgreSQL's schema control.
func Control() fs.FS { return sub(control, "postgres/control") }

// Tenant returns the migrations of the schemas that tenants have of their own in PostgreSQL.
func Tenant() fs.FS { return sub(tenant, "postgres/tenant") }

// ClickHouse returns the migrations of the telemetry database.
func ClickHouse() fs.FS { return sub(clickHouse, "clickhouse") }

func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic("BUG: " + err.Error()) // the directory is named in the embed directive above
	}
	return s
}
