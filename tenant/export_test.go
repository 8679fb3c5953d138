package tenant

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// exported returns the manifest of an archive and the rows of its tables, by table.
func exported(t *testing.T, archive []byte) (Manifest, map[string]string) {
	t.Helper()
	m, err := VerifyExport(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	rows := map[string]string{}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it as it is
			return m, rows
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		name, _, _ = strings.Cut(name, ".0")
		rows[name] += string(b)
	}
}

// TestExportMasksTheOperator looks for the operator's people in an archive, which its tenant gets.
func TestExportMasksTheOperator(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.create(t, "acme")
	audit := func(who Identity, address string) {
		ctx := WithOrigin(WithIdentity(t.Context(), who), Origin{Address: netip.MustParseAddr(address), UserAgent: "agent of " + address})
		if err := postgres.InTenant(ctx, l.pg.Pool, "acme", func(tx pgx.Tx) error {
			return Audit(ctx, tx, AuditEntry{Action: "target.put", Resource: "slo", Tenant: "acme"})
		}); err != nil {
			t.Fatal(err)
		}
	}
	audit(Identity{UserID: 4711, Name: "grace@operator.example", Role: RoleAdmin}, "192.0.2.77")
	audit(Identity{UserID: 12, Name: "ada@acme.example", Role: RoleOwner, Tenant: "acme"}, "192.0.2.12")

	e := NewExports(l.pg.Pool, l.ch, "test")
	write, err := e.Begin(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := write(&archive); err != nil {
		t.Fatal(err)
	}
	m, rows := exported(t, archive.Bytes())
	log := rows["postgresql/control.audit_log"]
	for _, hidden := range []string{"grace", "4711", "192.0.2.77"} {
		if strings.Contains(log, hidden) {
			t.Errorf("the tenant reads %q in\n%s", hidden, log)
		}
	}
	named := 0
	for line := range strings.Lines(log) {
		var entry struct{ Actor, Address, Action string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Action == "target.put" && (entry.Actor == "operator" || entry.Actor == "ada@acme.example" && entry.Address == "192.0.2.12") {
			named++
		}
	}
	if named != 2 {
		t.Errorf("%d of two entries are there as they should be:\n%s", named, log)
	}
	if i := slices.IndexFunc(m.Tables, func(t ManifestTable) bool { return t.Table == "control.audit_log" }); i < 0 || !slices.Contains(m.Tables[i].LeftOut, "words") {
		t.Errorf("the words are not left out: %+v", m.Tables)
	}
}

// TestExportKeepsToTheWall asks for a tenant in a context that is confined to another.
func TestExportKeepsToTheWall(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.create(t, "acme")
	write, err := NewExports(l.pg.Pool, l.ch, "test").Begin(postgres.Confine(t.Context(), ID("other")), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := write(io.Discard); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}

// TestExportsHaveBounds lets a tenant have one of the places only, an export take so long only, and its snapshot end before the most is
// written.
func TestExportsHaveBounds(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	l.create(t, "acme")
	l.create(t, "zeta")
	e := NewExports(l.pg.Pool, l.ch, "test")
	begin := func(id ID) func(io.Writer) error {
		t.Helper()
		write, err := e.Begin(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return write
	}
	first := begin("acme")
	if _, err := e.Begin(t.Context(), "acme"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a second of the tenant: got %v, want Unavailable", err)
	}
	other := begin("zeta")
	if err := first(writerFunc(func(b []byte) (int, error) {
		if n := l.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`); n != 0 {
			t.Errorf("%d snapshots are open while it is written", n)
		}
		return len(b), nil
	})); err != nil {
		t.Error(err)
	}

	e.limit = time.Nanosecond
	if err := other(io.Discard); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "took longer than 1ns") {
		t.Errorf("beyond its time: got %v, want Unavailable", err)
	}
	e.limit = time.Minute
	for _, id := range []ID{"acme", "zeta"} { // the places are there again
		if err := begin(id)(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
