package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// Result says what a run of migrations did or would do.
type Result struct {
	Database string        // "PostgreSQL" or "ClickHouse"
	From, To int64         // versions before and after; the same when there was nothing to do
	Pending  int           // with check: how many have not run
	Took     time.Duration // of all together
}

// NewerError says that a database was migrated by a newer headroom than this one.
type NewerError struct {
	Database   string
	Have, Know int64 // the database's version and the newest that this binary knows
}

// Error tells the operator what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%s is at schema version %d, but this headroom knows versions up to %d only: "+
		"it was migrated by a newer headroom; run that version, or restore a backup from before", e.Database, e.Have, e.Know)
}

// PendingError says that a database is behind this binary.
type PendingError struct {
	Database   string
	Have, Want int64
}

// Error tells the operator what to do.
func (e *PendingError) Error() string {
	return fmt.Sprintf("%s is at schema version %d and this headroom needs %d: run \"headroom migrate\"", e.Database, e.Have, e.Want)
}

// Up brings a database to the newest version in files; with check it changes nothing and returns a *PendingError when
// there is something to do. A database that is newer than files is refused with a *NewerError. The caller holds a lock
// that keeps a second starter out.
func Up(ctx context.Context, database string, dialect goose.Dialect, db *sql.DB, files fs.FS, table string, check bool) (Result, error) {
	p, err := goose.NewProvider(dialect, db, files, goose.WithTableName(table), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return Result{}, fmt.Errorf("cannot read the migrations of %s: %w", database, err)
	}
	started := time.Now()
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("cannot read the schema version of %s: %w", database, err)
	}
	res := Result{Database: database, From: have, To: have}
	if have > want {
		return res, &NewerError{Database: database, Have: have, Know: want}
	}
	if check {
		for _, s := range p.ListSources() {
			if s.Version > have {
				res.Pending++
			}
		}
		if res.Pending > 0 {
			return res, &PendingError{Database: database, Have: have, Want: want}
		}
		return res, nil
	}
	done, err := p.Up(ctx)
	if err != nil {
		return res, fmt.Errorf("cannot migrate %s from version %d: %w", database, have, err)
	}
	if len(done) > 0 {
		res.To = done[len(done)-1].Source.Version
	}
	res.Took = time.Since(started)
	return res, nil
}
