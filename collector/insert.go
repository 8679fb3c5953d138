package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/clickhouse"
)

// inserter sends blocks to ClickHouse over HTTP.
type inserter struct {
	client *http.Client
	cfg    *clickhouse.Config
}

func newInserter(cfg *clickhouse.Config) *inserter {
	return &inserter{cfg: cfg, client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: cfg.Options.TLS, DisableCompression: true,
			MaxIdleConnsPerHost: int(tables), IdleConnTimeout: time.Minute,
		},
	}}
}

// unansweredError says that ClickHouse was reached and did not answer: it ended, or takes too long.
type unansweredError struct{ error }

func (e *unansweredError) Unwrap() error { return e.error }

// refusedError says that ClickHouse answered, and did not take the rows. Other errors of insert but unansweredError mean
// that it could not be reached.
type refusedError struct {
	status int
	code   string // ClickHouse's exception code
	text   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("ClickHouse answered HTTP %d, exception %s: %s", e.status, e.code, e.text)
}

// busy says that ClickHouse would not take any other rows either: it lacks memory or room, has too many parts, may only
// be read, or is not set up for headroom. An answer without a code is that of a proxy.
func (e *refusedError) busy() bool {
	switch e.code {
	case "", "60", "75", "76", "81", "159", "160", "164", "173", "201", "202", "236", "241", "242", "243", "252", "394", "439", "497", "516", "999":
		return true
	}
	return false
}

// insertSettings make an insert repeatable: all blocks of the body become one block, which the token covers for the
// table and, with a derived token, for every target of its views.
var insertSettings = map[string]string{
	"decompress":                  "1",
	"wait_end_of_query":           "1",
	"async_insert":                "0",
	"insert_deduplicate":          "1",
	"optimize_on_insert":          "1",
	"max_insert_block_size":       "1000000000",
	"max_execution_time":          "0",
	"max_insert_block_size_bytes": "0",
	"min_insert_block_size_rows":  "1000000000",
	"min_insert_block_size_bytes": "100000000000",
	"deduplicate_blocks_in_dependent_materialized_views": "1",
	"materialized_views_ignore_errors":                   "0",
	"max_partitions_per_insert_block":                    "0",
	"input_format_parallel_parsing":                      "0",
}

// insert sends the blocks as one insert into the table. It may be repeated with the same token and blocks.
func (in *inserter) insert(ctx context.Context, t table, token string, blocks [][]byte) error {
	q := url.Values{
		"database":                   {in.cfg.Options.Auth.Database},
		"query":                      {insertQuery(t)},
		"insert_deduplication_token": {token},
	}
	for k, v := range insertSettings {
		q.Set(k, v)
	}
	readers := make([]io.Reader, len(blocks))
	size := int64(0)
	for i, b := range blocks {
		readers[i] = bytes.NewReader(b)
		size += int64(len(b))
	}
	var reached atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }})
	u := *in.cfg.HTTP
	u.Path, u.RawQuery = "/", q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), io.MultiReader(readers...))
	if err != nil {
		return fmt.Errorf("cannot make an insert: %w", err)
	}
	req.ContentLength = size
	req.Header.Set("X-ClickHouse-User", in.cfg.Options.Auth.Username)
	req.Header.Set("X-ClickHouse-Key", in.cfg.Options.Auth.Password)
	resp, err := in.client.Do(req)
	if err != nil {
		err = fmt.Errorf("cannot insert into %q: %w", tableNames[t], withoutURL(err))
		if reached.Load() {
			return &unansweredError{err}
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	code := resp.Header.Get("X-ClickHouse-Exception-Code")
	switch {
	case resp.StatusCode != http.StatusOK || code != "":
		return fmt.Errorf("cannot insert into %q: %w", tableNames[t],
			&refusedError{resp.StatusCode, code, strings.TrimSpace(strings.ToValidUTF8(string(text), "?"))})
	case err != nil:
		return &unansweredError{fmt.Errorf("cannot read the answer to an insert into %q: %w", tableNames[t], err)}
	case resp.Header.Get("X-ClickHouse-Summary") == "" && resp.Header.Get("X-ClickHouse-Query-Id") == "":
		// What keeps ClickHouse's place while that is away must not pass for it.
		return fmt.Errorf("cannot insert into %q: %w", tableNames[t],
			&refusedError{status: resp.StatusCode, text: "the answer does not come from ClickHouse"})
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return nil
}

// withoutURL drops the long URL that net/http puts into its errors.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func insertQuery(t table) string {
	if t == tableFormerSpans {
		return "INSERT INTO spans (" + formerSpanColumns + ") FORMAT Native"
	}
	in, _ := emptyColumns.input(t)
	names := make([]string, len(in))
	for i, c := range in {
		names[i] = c.Name
	}
	return "INSERT INTO " + tableNames[t] + " (" + strings.Join(names, ", ") + ") FORMAT Native"
}

// formerSpanColumns are those of the blocks that an older headroom left in the spool.
const formerSpanColumns = "ts, trace_id, span_id, parent_span_id, product, tenant, service, version, name, kind, route, status, error, " +
	"duration_ns, status_message, exception, attributes, resource"

// emptyColumns only lends its names.
var emptyColumns = newColumns()
