package tenant

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// fewEntries is up to how many an index finds and a sort orders in no time. Of more, those of the first page are found soon
// by reading by time, unless all of them are old.
const fewEntries = 10_000

// planAudit chooses how to read for the rest of the transaction, because PostgreSQL takes the beginnings of words, and networks,
// for more frequent than most are, and reads all of the log by time. It counts what matches, up to fewEntries, by the indexes of the
// conditions; if these are all, the search takes the same way.
func planAudit(ctx context.Context, tx pgx.Tx, where *conditions) error {
	set := func(byTime string) error {
		_, err := tx.Exec(ctx, `
			SELECT set_config('enable_seqscan', $1, true), set_config('enable_indexscan', $1, true), set_config('enable_indexonlyscan', $1, true),
				set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_custom_plan', true)`, byTime)
		if err != nil {
			return fmt.Errorf("cannot choose how to read the audit log: %w", err)
		}
		return nil
	}
	if err := set("off"); err != nil {
		return err
	}
	var n int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM `+acrossTenants+where.sql()+` LIMIT `+strconv.Itoa(fewEntries+1)+`) e`, where.args...).Scan(&n)
	if err != nil {
		return fmt.Errorf("cannot count entries of the audit log: %w", err)
	}
	if n <= fewEntries {
		return nil
	}
	return set("on")
}
