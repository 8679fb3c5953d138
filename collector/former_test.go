package collector

import (
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// What a headroom from before migration 4 left in the spool has spans in the shape of then, for the table of then.
func TestSpansOfAFormerVersionAreInserted(t *testing.T) {
	db := testenv.NewClickHouse(t)
	cfg, err := clickhouse.ParseDSN(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	c := newColumns()
	d := decoder{opts: decodeOptions{maxFuture: time.Hour, retention: time.Hour, maxValue: 100, maxName: 100, maxAttributes: 10}}
	if _, err := d.decode(request{signal: traces, body: encode(t, export(mixed(8, 1)...))}, c, time.Now()); err != nil {
		t.Fatal(err)
	}
	in, rows := c.input(tableSpans)
	in = in[:len(in)-3] // without attributes, and those as they were
	var attributes, resource mapColumn
	for range rows {
		attributes.keys.append([]byte("k"))
		attributes.values.append([]byte("v"))
		attributes.endRow()
		resource.endRow()
	}
	in = append(in, proto.InputColumn{Name: "attributes", Data: &attributes}, proto.InputColumn{Name: "resource", Data: &resource})
	block, _, err := newEncoder().block(nil, in, rows)
	if err != nil {
		t.Fatal(err)
	}
	inserter := newInserter(cfg)
	defer inserter.client.CloseIdleConnections()
	for range 2 { // the second time it is known
		if err := inserter.insert(t.Context(), tableFormerSpans, "token", [][]byte{block}); err != nil {
			t.Fatal(err)
		}
	}
	var n uint64
	if err := db.Owner.QueryRow(t.Context(), "SELECT countIf(attributes['k'] = 'v') FROM spans").Scan(&n); err != nil || n != uint64(rows) {
		t.Errorf("%d rows, %v; want %d", n, err, rows)
	}
}

// The map columns of trace_spans are made of what the collector joined.
func TestAttributesAreReadAsMaps(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	req := export(server("none"), server("some", text("a", "1"), text("empty", ""), number("n", 7), text("ÿ", "þ")))
	req.ResourceSpans[0].Resource.Attributes = append(req.ResourceSpans[0].Resource.Attributes, text("last", ""))
	if got := r.post(t, "/v1/traces", encode(t, req)); got.status != 200 {
		t.Fatalf("answer %d: %s", got.status, got.body)
	}
	r.stop()
	var none, some, last, service string
	if err := db.Owner.QueryRow(t.Context(), `SELECT anyIf(toString(attributes), name = 'none'), anyIf(toString(attributes), name = 'some'),
		any(toString(mapContains(resource, 'last'))), any(resource['service.name']) FROM trace_spans`).Scan(&none, &some, &last, &service); err != nil {
		t.Fatal(err)
	}
	if none != "{}" || some != "{'a':'1','empty':'','n':'7','ÿ':'þ'}" || last != "1" || service == "" {
		t.Errorf("got %s, %s, %s, %q", none, some, last, service)
	}
}
