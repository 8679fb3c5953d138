package tenant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// AuditRecord is an entry of the audit log as it is read.
type AuditRecord struct {
	ID          int64
	At          time.Time // when the transaction of the change began
	Actor       string
	ActorKind   ActorKind
	ActorID     string
	ActorTenant ID // whose key or user it is; empty: the operator's, or headroom itself
	Tenant      ID // whose entry it is; empty: the operator's
	Address     *netip.Addr
	UserAgent   string
	Action      string
	Kind        string
	Resource    string
	Before      json.RawMessage
	After       json.RawMessage
}

// AuditFilter says which entries to read. Empty fields match everything.
type AuditFilter struct {
	From, To time.Time // To is not included
	Actor    string    // its name
	Action   string    // its beginning: "key." for all that was done to keys
	Kind     string    // of the resource
	Resource string    // its id
	Tenant   *ID       // whose entries; Untagged: the operator's
	Address  netip.Prefix
	Text     string // words of it, each by its beginning
	After    AuditCursor
	Limit    int // at most; 100 by default
}

// AuditCursor is the entry after which a page begins; the zero value is before all.
type AuditCursor struct {
	At time.Time
	ID int64
}

// String writes the cursor as callers pass it on.
func (c AuditCursor) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", c.At.UnixMicro(), c.ID))
}

// ParseAuditCursor reads what String wrote; the empty one is the zero value.
func ParseAuditCursor(s string) (c AuditCursor, err error) {
	if s == "" {
		return c, nil
	}
	b, textErr := base64.RawURLEncoding.DecodeString(s)
	at, id, _ := strings.Cut(string(b), ".")
	micros, atErr := strconv.ParseInt(at, 10, 64)
	c.ID, err = strconv.ParseInt(id, 10, 64)
	if textErr != nil || err != nil || atErr != nil || micros < 0 || micros > maxCursorMicros {
		return AuditCursor{}, fault.InvalidField("after", s, "must be the next of a page before")
	}
	c.At = time.UnixMicro(micros).UTC()
	return c, nil
}

const maxCursorMicros = 250_000_000_000 * 1_000_000 // beyond PostgreSQL's times nothing is

// Cursor returns the place of the entry.
func (r *AuditRecord) Cursor() AuditCursor { return AuditCursor{r.At, r.ID} }

// AuditLog reads the audit log. It is safe for concurrent use.
type AuditLog struct{ pool *pgxpool.Pool }

// NewAuditLog returns the audit log of the pool's database.
func NewAuditLog(pool *pgxpool.Pool) *AuditLog { return &AuditLog{pool} }

// operatorName stands for all of the operator's people and keys where a tenant reads what they did to it.
const operatorName = "operator"

const auditColumns = `id, at, actor, actor_kind, actor_id, coalesce(actor_tenant, ''), coalesce(tenant, ''), address, user_agent, action, resource_kind,
	resource_id, before, after`

// ofTenant is the log as a tenant reads it. Who of the operator did something, and from where, is not shown: also not to who
// filters by it.
const ofTenant = `(
	SELECT id, at, CASE WHEN shown THEN actor ELSE '` + operatorName + `' END AS actor, actor_kind, CASE WHEN shown THEN actor_id ELSE '' END AS actor_id,
		CASE WHEN shown THEN actor_tenant END AS actor_tenant, tenant, CASE WHEN shown THEN address END AS address,
		CASE WHEN shown THEN user_agent ELSE '' END AS user_agent, action, resource_kind, resource_id, before, after, words
	FROM (SELECT *, actor_tenant = tenant OR actor_kind = 'system' AS shown FROM control.audit_log WHERE tenant = $1) e) e`

// Search returns a tenant's own entries, the newest first.
func (l *AuditLog) Search(ctx context.Context, id ID, f AuditFilter) (list []AuditRecord, err error) {
	if f.Tenant != nil && *f.Tenant != id {
		return nil, nil
	}
	f.Tenant = nil
	where := newConditions(id)
	where.filter(&f, false)
	err = postgres.InTenant(ctx, l.pool, id, func(tx pgx.Tx) (err error) {
		list, err = queryAudit(ctx, tx, ofTenant, where, f.Limit)
		return err
	})
	return list, err
}

// SearchAcrossTenants returns entries of the operator and of all tenants, the newest first.
func (l *AuditLog) SearchAcrossTenants(ctx context.Context, f AuditFilter) (list []AuditRecord, err error) {
	where := newConditions()
	where.filter(&f, true)
	err = postgres.AcrossTenants(ctx, l.pool, func(tx pgx.Tx) (err error) {
		if f.Text != "" || f.Address.IsValid() && !f.Address.IsSingleIP() {
			if err := planAudit(ctx, tx, where); err != nil {
				return err
			}
		}
		list, err = queryAudit(ctx, tx, acrossTenants, where, f.Limit)
		return err
	})
	return list, err
}

const acrossTenants = "control.audit_log_across"

func queryAudit(ctx context.Context, tx pgx.Tx, from string, where *conditions, limit int) ([]AuditRecord, error) {
	if limit <= 0 {
		limit = 100
	}
	rows, err := tx.Query(ctx, `SELECT `+auditColumns+` FROM `+from+where.sql()+` ORDER BY at DESC, id DESC LIMIT `+where.arg(limit), where.args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the audit log: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AuditRecord])
	if err != nil {
		return nil, fmt.Errorf("cannot read the audit log: %w", err)
	}
	return list, nil
}

// NoteExport writes to the log that the caller exports it; asked is what for. The entry is the operator's, or the tenant's whose
// the caller is.
func (l *AuditLog) NoteExport(ctx context.Context, asked any) error {
	return postgres.AcrossTenants(ctx, l.pool, func(tx pgx.Tx) error {
		return Audit(ctx, tx, AuditEntry{Action: "audit.export", After: asked})
	})
}

// exportPage is how many entries an export reads at once.
const exportPage = 1000

// Each calls f for all that search finds, page after page, so that neither memory nor a transaction grows with the log. It
// ends with the first error of f.
func (l *AuditLog) Each(ctx context.Context, filter AuditFilter, search func(context.Context, AuditFilter) ([]AuditRecord, error), f func(*AuditRecord) error) error {
	for filter.Limit = exportPage; ; {
		page, err := search(ctx, filter)
		if err != nil {
			return err
		}
		for i := range page {
			if err := f(&page[i]); err != nil {
				return err
			}
		}
		if len(page) < exportPage {
			return nil
		}
		filter.After = page[len(page)-1].Cursor()
	}
}

// conditions are those of a query, with their arguments.
type conditions struct {
	all  []string
	args []any
}

func newConditions(args ...any) *conditions { return &conditions{args: args} }

// arg adds an argument and returns its place.
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *conditions) add(ok bool, sql string, args ...any) {
	if !ok {
		return
	}
	for _, a := range args {
		sql = strings.Replace(sql, "?", c.arg(a), 1)
	}
	c.all = append(c.all, sql)
}

func (c *conditions) sql() string {
	if len(c.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.all, " AND ")
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (c *conditions) filter(f *AuditFilter, operator bool) {
	c.add(!f.From.IsZero(), "at >= ?", f.From)
	c.add(!f.To.IsZero(), "at < ?", f.To)
	c.add(f.Actor != "", "actor = ?", f.Actor)
	c.add(f.Action != "", "action LIKE ?", likeEscaper.Replace(f.Action)+"%")
	c.add(f.Kind != "", "resource_kind = ?", f.Kind)
	c.add(f.Resource != "", "resource_id = ?", f.Resource)
	if f.Tenant != nil {
		c.add(*f.Tenant == Untagged, "tenant IS NULL")
		c.add(*f.Tenant != Untagged, "tenant = ?", *f.Tenant)
	}
	c.add(f.Address.IsValid(), "address <<= ?", f.Address)
	if strings.TrimSpace(f.Text) != "" {
		q := wordQuery(f.Text, operator)
		c.add(q != "", "words @@ ?::text::tsquery", q)
		c.add(q == "", "false") // no word in it: nothing has it
	}
	c.add(f.After != AuditCursor{}, "(at, id) < (?, ?)", f.After.At, f.After.ID)
}
