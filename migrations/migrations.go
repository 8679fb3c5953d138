// Package migrations embeds the SQL that makes and changes both databases. Packages postgres and clickhouse run it.
//
// A file is NNNNN_name.sql in goose's format. It must be safe while the version before it serves: add first, use later,
// remove last. ClickHouse has no transactions, so there every statement must be one that can run again.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed postgres/control/*.sql
var control embed.FS

//go:embed clickhouse/*.sql
var clickHouse embed.FS

// Control returns the migrations of PostgreSQL's schema control.
func Control() fs.FS { return sub(control, "postgres/control") }

// ClickHouse returns the migrations of the telemetry database.
func ClickHouse() fs.FS { return sub(clickHouse, "clickhouse") }

func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic("BUG: " + err.Error()) // the directory is named in the embed directive above
	}
	return s
}
