package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/clickhouse"
)

// inserter sends blocks to ClickHouse over HTTP.
type inserter struct {
	client  *http.Client
	cfg     *clickhouse.Config
	queries [tables]string
}

func newInserter(cfg *clickhouse.Config) *inserter {
	in := &inserter{cfg: cfg, client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: cfg.Options.TLS, DisableCompression: true,
			MaxIdleConnsPerHost: int(tables), IdleConnTimeout: time.Minute,
		},
	}}
	named := newColumns()
	for t := range tables {
		in.queries[t] = insertQuery(t, named)
	}
	return in
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

// insert sends the blocks as one insert into the table. It may be repeated with the same token and blocks. Once it has
// returned, nothing reads the blocks any more.
func (in *inserter) insert(ctx context.Context, t table, token string, blocks [][]byte) error {
	return in.send(ctx, t, in.queries[t], token, blocks)
}

func (in *inserter) send(ctx context.Context, t table, query, token string, blocks [][]byte) error {
	q := url.Values{
		"database":                   {in.cfg.Options.Auth.Database},
		"query":                      {query},
		"insert_deduplication_token": {token},
	}
	for k, v := range insertSettings {
		q.Set(k, v)
	}
	size := int64(0)
	for _, b := range blocks {
		size += int64(len(b))
	}
	body := &blocksReader{blocks: slices.Clone(blocks)}
	defer body.Close() //nolint:errcheck // it has none
	var reached atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }})
	u := *in.cfg.HTTP
	u.Path, u.RawQuery = "/", q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
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

// blocksReader reads blocks one after the other until it is closed. What sends a request's body may go on for a moment when
// the answer is there, or nobody waits for it any more; but then the blocks' memory is another segment's.
type blocksReader struct {
	mu     sync.Mutex // guards blocks
	blocks [][]byte   // what is left
}

func (r *blocksReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.blocks) > 0 && n < len(p) {
		k := copy(p[n:], r.blocks[0])
		n += k
		if r.blocks[0] = r.blocks[0][k:]; len(r.blocks[0]) == 0 {
			r.blocks = r.blocks[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close lets go of the blocks.
func (r *blocksReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = nil
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

// insertQuery names the columns, which columns lend their names for.
func insertQuery(t table, columns *columns) string {
	if t == tableFormerSpans {
		return "INSERT INTO spans (" + formerSpanColumns + ") FORMAT Native"
	}
	in, _ := columns.input(t)
	names := make([]string, len(in))
	for i, c := range in {
		names[i] = c.Name
	}
	return "INSERT INTO " + tableNames[t] + " (" + strings.Join(names, ", ") + ") FORMAT Native"
}

// formerSpanColumns are those of the blocks that an older headroom left in the spool.
const formerSpanColumns = "ts, trace_id, span_id, parent_span_id, product, tenant, service, version, name, kind, route, status, error, " +
	"duration_ns, status_message, exception, attributes, resource"
