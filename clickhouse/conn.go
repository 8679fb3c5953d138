package clickhouse

import (
	"context"
	"io"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// walledConn is a connection that lets no query by that does not say for whom it is. A query that is confined carries
// additional_table_filters and none of the settings that its context may have.
type walledConn struct {
	driver.Conn
	database string
}

// read returns the context to send a query with.
func (c *walledConn) read(ctx context.Context) (context.Context, error) {
	switch s := scopeOf(ctx); {
	case len(s.bounds) > 0:
		return ch.Context(ctx, ch.WithSettings(ch.Settings{"additional_table_filters": filterOf(c.database, s.bounds)})), nil
	case s.crosses:
		return ctx, nil
	}
	return nil, ErrNobody
}

func mayWrite(ctx context.Context) error {
	switch s := scopeOf(ctx); {
	case len(s.bounds) > 0:
		return ErrConfinedWrite
	case s.crosses:
		return nil
	}
	return ErrNobody
}

// Query reads what the context leaves.
func (c *walledConn) Query(ctx context.Context, query string, args ...any) (driver.Rows, error) {
	ctx, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	return c.Conn.Query(ctx, query, args...)
}

// QueryRow is Query for one row.
func (c *walledConn) QueryRow(ctx context.Context, query string, args ...any) driver.Row {
	ctx, err := c.read(ctx)
	if err != nil {
		return refusedRow{err}
	}
	return c.Conn.QueryRow(ctx, query, args...)
}

// Select is Query into a slice.
func (c *walledConn) Select(ctx context.Context, dest any, query string, args ...any) error {
	ctx, err := c.read(ctx)
	if err != nil {
		return err
	}
	return c.Conn.Select(ctx, dest, query, args...)
}

// QueryFormat is Query for bytes.
func (c *walledConn) QueryFormat(ctx context.Context, format, query string, args ...any) (io.ReadCloser, error) {
	ctx, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	return c.Conn.QueryFormat(ctx, format, query, args...)
}

// Exec writes, which nobody confined may.
func (c *walledConn) Exec(ctx context.Context, query string, args ...any) error {
	if err := mayWrite(ctx); err != nil {
		return err
	}
	return c.Conn.Exec(ctx, query, args...)
}

// PrepareBatch is Exec for blocks.
func (c *walledConn) PrepareBatch(ctx context.Context, query string, opts ...driver.PrepareBatchOption) (driver.Batch, error) {
	if err := mayWrite(ctx); err != nil {
		return nil, err
	}
	return c.Conn.PrepareBatch(ctx, query, opts...)
}

// InsertFormat is Exec for bytes.
func (c *walledConn) InsertFormat(ctx context.Context, format, query string, data io.Reader) error {
	if err := mayWrite(ctx); err != nil {
		return err
	}
	return c.Conn.InsertFormat(ctx, format, query, data)
}

// AsyncInsert is Exec without waiting.
func (c *walledConn) AsyncInsert(ctx context.Context, query string, wait bool, args ...any) error {
	if err := mayWrite(ctx); err != nil {
		return err
	}
	return c.Conn.AsyncInsert(ctx, query, wait, args...) //nolint:staticcheck // deprecated, and a way to write all the same
}

// refusedRow is the answer to a query that was not sent.
type refusedRow struct{ err error }

// Err returns why.
func (r refusedRow) Err() error { return r.err }

// Scan returns why.
func (r refusedRow) Scan(...any) error { return r.err }

// ScanStruct returns why.
func (r refusedRow) ScanStruct(any) error { return r.err }
