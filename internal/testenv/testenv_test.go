package testenv_test

import (
	"testing"

	"github.com/nexis-limited/headroom/internal/testenv"
)

func TestDatabasesAreFreshAndMigrated(t *testing.T) {
	ch, pg := testenv.NewClickHouse(t), testenv.NewPostgres(t)
	var tables uint64
	if err := ch.Owner.QueryRow(t.Context(), `SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'requests'`).Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 1 {
		t.Errorf("table requests: got %d, want 1", tables)
	}
	var keys int
	if err := pg.Owner.QueryRow(t.Context(), `SELECT count(*) FROM control.api_keys`).Scan(&keys); err != nil {
		t.Fatal(err)
	}
	if keys != 0 {
		t.Errorf("API keys in a fresh database: got %d, want 0", keys)
	}
}
