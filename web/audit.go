package web

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// auditView is an entry of the audit log as the API shows it.
type auditView struct {
	ID           string           `json:"id"`
	At           time.Time        `json:"at"`
	Actor        string           `json:"actor" doc:"Who: the name of a key, a person's address, or headroom. A tenant reads \"operator\" for all who are the operator's."`
	ActorKind    tenant.ActorKind `json:"actor_kind" doc:"key, user or system."`
	ActorID      string           `json:"actor_id,omitempty"`
	ActorTenant  tenant.ID        `json:"actor_tenant,omitempty" doc:"Whose key or person it is; empty for the operator's."`
	Tenant       tenant.ID        `json:"tenant,omitempty" doc:"Whose entry it is; empty for the operator's."`
	Address      string           `json:"address,omitempty" doc:"From where."`
	UserAgent    string           `json:"user_agent,omitempty"`
	Action       string           `json:"action" example:"key.create"`
	ResourceKind string           `json:"resource_kind" example:"key"`
	Resource     string           `json:"resource,omitempty"`
	Before       json.RawMessage  `json:"before,omitempty" doc:"What there was; secrets are removed."`
	After        json.RawMessage  `json:"after,omitempty" doc:"What there is now."`
}

func newAuditView(r *tenant.AuditRecord) auditView {
	v := auditView{ID: strconv.FormatInt(r.ID, 10), At: r.At.UTC(), Actor: r.Actor, ActorKind: r.ActorKind, ActorID: r.ActorID, ActorTenant: r.ActorTenant,
		Tenant: r.Tenant, UserAgent: r.UserAgent, Action: r.Action, ResourceKind: r.Kind, Resource: r.Resource, Before: r.Before, After: r.After}
	if r.Address != nil {
		v.Address = r.Address.String()
	}
	return v
}

// AuditQuery is what entries are asked for, as the API takes it. It is exported because huma passes over embedded structs
// that are not.
type AuditQuery struct {
	From         time.Time `query:"from" doc:"Start, RFC 3339."`
	To           time.Time `query:"to" doc:"End, RFC 3339, not included."`
	Actor        string    `query:"actor" maxLength:"300" doc:"The whole name."`
	Action       string    `query:"action" maxLength:"100" doc:"Its beginning: key. for all that was done to keys."`
	ResourceKind string    `query:"resource_kind" maxLength:"100"`
	Resource     string    `query:"resource" maxLength:"600" doc:"Its id."`
	Tenant       string    `query:"tenant" maxLength:"128" doc:"Whose entries."`
	Operator     bool      `query:"operator" doc:"Only the operator's own entries."`
	Address      string    `query:"address" doc:"An address or a network such as 192.0.2.0/24."`
	Text         string    `query:"q" maxLength:"200" doc:"Words of the entry, each by its beginning."`
}

// Filter returns the filter that the query means. The error names the field that is wrong.
func (q *AuditQuery) Filter() (tenant.AuditFilter, error) {
	f := tenant.AuditFilter{From: q.From, To: q.To, Actor: q.Actor, Action: q.Action, Kind: q.ResourceKind, Resource: q.Resource, Text: q.Text}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return f, fault.InvalidField("from", q.From.Format(time.RFC3339), "must be before to, which is %s", q.To.Format(time.RFC3339))
	}
	if q.Address != "" {
		p, err := netip.ParsePrefix(q.Address)
		if err != nil {
			a, err := netip.ParseAddr(q.Address)
			if err != nil {
				return f, fault.InvalidField("address", q.Address, "must be an address or a network such as 192.0.2.0/24")
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		f.Address = p.Masked()
	}
	if q.Tenant != "" {
		id, err := tenant.ParseID(q.Tenant)
		if err != nil {
			return f, err
		}
		f.Tenant = &id
	}
	if q.Operator {
		if q.Tenant != "" {
			return f, fault.InvalidField("operator", "true", "cannot stand beside tenant")
		}
		operator := tenant.Untagged
		f.Tenant = &operator
	}
	for field, s := range map[string]string{"actor": q.Actor, "action": q.Action, "resource_kind": q.ResourceKind, "resource": q.Resource, "q": q.Text} {
		if strings.ContainsRune(s, 0) {
			return f, fault.InvalidField(field, s, "must not have a zero byte")
		}
	}
	return f, nil
}

type auditIn struct {
	AuditQuery
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	After string `query:"after" maxLength:"100" doc:"The next of the page before."`
}

type auditOut struct {
	Body struct {
		Entries []auditView `json:"entries"`
		Next    string      `json:"next,omitempty" doc:"Give it as after to get the next page."`
	}
}

type auditExportIn struct {
	AuditQuery
	Format string `query:"format" default:"ndjson" enum:"ndjson,csv"`
}

// noted is what the audit log says of an export: of whom, of when, and by what else it was chosen. Not the texts, by which the
// entry would be found where nothing else is.
func (in *auditExportIn) noted() map[string]any {
	asked := map[string]any{"format": in.Format, "tenant": in.Tenant, "operator": in.Operator}
	for name, at := range map[string]time.Time{"from": in.From, "to": in.To} {
		if !at.IsZero() {
			asked[name] = at
		}
	}
	filters := []string{}
	for name, s := range map[string]string{"actor": in.Actor, "action": in.Action, "resource_kind": in.ResourceKind, "resource": in.Resource,
		"address": in.Address, "q": in.Text} {
		if s != "" {
			filters = append(filters, name)
		}
	}
	slices.Sort(filters)
	asked["filters"] = filters
	return asked
}

type auditAPI struct {
	log *tenant.AuditLog
}

// RegisterAuditAPI adds the operations on the audit log.
func RegisterAuditAPI(api *API, log *tenant.AuditLog) {
	a := auditAPI{log}
	op := Operation{Method: http.MethodGet, Path: "/api/v1/audit", ID: "list-audit", Tag: "Audit", Permission: tenant.MayRead(tenant.ResourceAudit),
		TenantParameter: "tenant", Summary: "Search the audit log, the newest first",
		Doc: "Who did what to which resource, when, from where, before and after. All filters must match. Entries that come meanwhile change no later page."}
	Register(api, op, a.list)
	op.Path, op.ID, op.Summary = "/api/v1/audit/export", "export-audit", "Export the audit log"
	op.Doc = "All entries that match, the newest first, as NDJSON or CSV. That it was asked for is an entry of its own. A connection that is cut before the end is an error: ask again with `to`."
	Register(api, op, a.export)
}

// SearchAudit returns what the caller may see of the entries that match: a tenant's its own, the operator's all. Whether
// the caller may read the log at all is checked before.
func SearchAudit(ctx context.Context, log *tenant.AuditLog, f tenant.AuditFilter) ([]tenant.AuditRecord, error) {
	if who, _ := tenant.IdentityFrom(ctx); who.Tenant != tenant.Untagged {
		return log.Search(ctx, who.Tenant, f)
	}
	return log.SearchAcrossTenants(ctx, f)
}

func (a auditAPI) search(ctx context.Context, f tenant.AuditFilter) ([]tenant.AuditRecord, error) {
	return SearchAudit(ctx, a.log, f)
}

func (a auditAPI) list(ctx context.Context, in *auditIn) (*auditOut, error) {
	f, err := in.Filter()
	if err != nil {
		return nil, err
	}
	if f.After, err = tenant.ParseAuditCursor(in.After); err != nil {
		return nil, err
	}
	f.Limit = in.Limit + 1
	list, err := a.search(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &auditOut{}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.Next = list[in.Limit-1].Cursor().String()
	}
	out.Body.Entries = make([]auditView, len(list))
	for i := range list {
		out.Body.Entries[i] = newAuditView(&list[i])
	}
	return out, nil
}

// exportWait is how long a reader may take for a page of an export.
const exportWait = time.Minute

func (a auditAPI) export(ctx context.Context, in *auditExportIn) (*huma.StreamResponse, error) {
	f, err := in.Filter()
	if err != nil {
		return nil, err
	}
	if f.To.IsZero() {
		f.To = time.Now() // what comes meanwhile is of the next export
	}
	first := f
	first.Limit = 1
	if _, err := a.search(ctx, first); err != nil { // while the answer can still be an error
		return nil, err
	}
	if err := a.log.NoteExport(ctx, in.noted()); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humachi.Unwrap(hctx)
		write := writeNDJSON
		contentType := "application/x-ndjson"
		if in.Format == "csv" {
			write, contentType = writeAuditCSV, "text/csv; charset=utf-8"
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Disposition", `attachment; filename="audit.`+in.Format+`"`)
		h.Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		each := func(ctx context.Context, f tenant.AuditFilter) ([]tenant.AuditRecord, error) {
			_ = control.SetWriteDeadline(time.Now().Add(exportWait)) // the listener's is for answers that are small
			return a.search(ctx, f)
		}
		err := write(w, func(f2 func(*tenant.AuditRecord) error) error { return a.log.Each(ctx, f, each, f2) })
		if err != nil {
			panic(http.ErrAbortHandler) // the reader must not take what it has for all
		}
	}}, nil
}

func writeNDJSON(w io.Writer, each func(func(*tenant.AuditRecord) error) error) error {
	e := json.NewEncoder(w)
	return each(func(r *tenant.AuditRecord) error { return e.Encode(newAuditView(r)) })
}

func writeAuditCSV(w io.Writer, each func(func(*tenant.AuditRecord) error) error) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"id", "at", "actor", "actor_kind", "actor_id", "actor_tenant", "tenant", "address", "user_agent", "action",
		"resource_kind", "resource", "before", "after"}); err != nil {
		return err
	}
	err := each(func(r *tenant.AuditRecord) error {
		v := newAuditView(r)
		row := []string{v.ID, v.At.Format(time.RFC3339Nano), v.Actor, string(v.ActorKind), v.ActorID, string(v.ActorTenant), string(v.Tenant), v.Address,
			v.UserAgent, v.Action, v.ResourceKind, v.Resource, string(v.Before), string(v.After)}
		for i, cell := range row { // what callers write is no formula of who opens it
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
		return out.Write(row)
	})
	if err != nil {
		return fmt.Errorf("cannot export the audit log: %w", err)
	}
	out.Flush()
	return out.Error()
}
