// Package testenv gives every test a database of its own on the real ClickHouse and PostgreSQL that
// "headroom engines exec" started. Only tests import it. A missing engine fails the test, it never skips.
package testenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/postgres"
)

// ClickHouse is a migrated database of one test.
type ClickHouse struct {
	DSN      string
	Database string
	Conn     driver.Conn // that headroom serves with: a query says for whom it is
	Owner    driver.Conn // sees everything, to look from outside and to put things there
}

// Postgres is a migrated database of one test.
type Postgres struct {
	DSN   string        // of the owner
	Pool  *pgxpool.Pool // with the rights that headroom serves with
	Owner *pgxpool.Pool // owns the tables and sees the rows of all tenants, to look from outside and to break things
}

// NewClickHouse makes a migrated ClickHouse database that is dropped when the test ends.
func NewClickHouse(t testing.TB) *ClickHouse {
	t.Helper()
	base := dsn(t, "HEADROOM_CLICKHOUSE")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin, err := clickhouse.OpenOwner(base)
	if err != nil {
		t.Fatal(err)
	}
	name := freshName()
	if err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("cannot create database %q: %v", name, err)
	}
	d := withDatabase(t, base, name)
	if _, err := clickhouse.Migrate(ctx, d, false); err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := clickhouse.OpenOwner(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = conn.Close()
		_ = owner.Close()
		if err := admin.Exec(ctx, "DROP DATABASE "+name+" SYNC"); err != nil {
			t.Errorf("cannot drop database %q: %v", name, err)
		}
		_ = admin.Close()
	})
	return &ClickHouse{DSN: d, Database: name, Conn: conn, Owner: owner}
}

// NewPostgres makes a migrated PostgreSQL database that is dropped when the test ends.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	base := dsn(t, "HEADROOM_POSTGRES")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin, err := postgres.Open(ctx, base)
	if err != nil {
		t.Fatal(err)
	}
	name := freshName()
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("cannot create database %q: %v", name, err)
	}
	d := withDatabase(t, base, name)
	owner, err := postgres.Open(ctx, withParameter(t, d, "headroom.crossing", "on"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.OpenServing(ctx, d, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		pool.Close()
		owner.Close()
		defer admin.Close()
		// Without FORCE the server ends its own autovacuum worker, which with FORCE it
		// would ask the test's user for the right to; with FORCE it ends what the test has left open.
		_, err := admin.Exec(ctx, "DROP DATABASE "+name)
		var inUse *pgconn.PgError
		if errors.As(err, &inUse) && inUse.Code == "55006" {
			_, err = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		}
		if err != nil {
			t.Errorf("cannot drop database %q: %v", name, err)
		}
	})
	if _, err := postgres.Migrate(ctx, owner, false); err != nil {
		t.Fatal(err)
	}
	return &Postgres{DSN: d, Pool: pool, Owner: owner}
}

func dsn(t testing.TB, env string) string {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		t.Fatalf("%s is not set: run \"make test\", or \"bin/headroom engines exec -- go test ./...\"", env)
	}
	return s
}

func withDatabase(t testing.TB, dsn, name string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("cannot parse a DSN of the environment: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

func withParameter(t testing.TB, dsn, name, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("cannot parse a DSN of the environment: %v", err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func freshName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("test_%s", hex.EncodeToString(b[:]))
}
