package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// LeaveAPI is what the operations on tenants that leave need. The fields are required.
type LeaveAPI struct {
	Departures *tenant.Departures
	Exports    *tenant.Exports
	Audit      func(ctx context.Context, id tenant.ID) error // notes that somebody exports a tenant
	Logger     *slog.Logger
}

type leavingIn struct {
	Tenant string `path:"tenant" maxLength:"400" doc:"The tenant's id."`
}

type deleteTenantIn struct {
	Tenant  string `path:"tenant" maxLength:"400" doc:"The tenant's id."`
	Confirm string `query:"confirm" doc:"The tenant's id once more."`
}

type deletionOut struct{ Body tenant.Deletion }

// RegisterLeaveAPI adds the operations by which a tenant's data is taken out and deleted.
func RegisterLeaveAPI(api *API, a LeaveAPI) {
	Register(api, Operation{
		Method: http.MethodDelete, Path: "/api/v1/tenants/{tenant}", ID: "delete-tenant", Tag: "Tenants", Status: http.StatusAccepted,
		Permission: tenant.MayDelete(tenant.ResourceTenants),
		Summary:    "Delete a tenant and everything that is stored of it",
		Doc: "Nothing brings it back: export it first. Its keys end at once, its telemetry is refused within a second or so; what is stored is removed " +
			"in the background, and counted. A call for one that is being deleted, or was, changes nothing and answers how that stands.",
	}, a.delete)
	Register(api, Operation{
		Method: http.MethodGet, Path: "/api/v1/tenants/{tenant}/deletion", ID: "get-tenant-deletion", Tag: "Tenants",
		Permission: tenant.MayDelete(tenant.ResourceTenants),
		Summary:    "Tell how the deletion of a tenant stands",
		Doc:        "When it is done, with every table of both databases and how many rows are left in it: none.",
	}, a.status)
	Register(api, Operation{
		Method: http.MethodGet, Path: "/api/v1/tenants/{tenant}/export", ID: "export-tenant", Tag: "Tenants", TenantParameter: "tenant",
		Permission: tenant.MayCreate(tenant.ResourceExports),
		Summary:    "Export everything that is stored of a tenant",
		Doc: "A tar file compressed with zstd, as it is read: NDJSON for each table of both databases, then a manifest and checksums. One that ends " +
			"without them is incomplete. Secrets are left out. At most two run at a time, one of a tenant; each ends after two hours, and when nothing is read for a minute.",
	}, a.export)
}

func (a *LeaveAPI) delete(ctx context.Context, in *deleteTenantIn) (*deletionOut, error) {
	if in.Confirm != in.Tenant {
		return nil, fault.InvalidField("confirm", in.Confirm, "must be the id of the tenant that is to be deleted, %q", in.Tenant)
	}
	who, _ := tenant.IdentityFrom(ctx)
	is, err := a.Departures.Delete(ctx, who.Name, tenant.ID(in.Tenant))
	return &deletionOut{is}, err
}

func (a *LeaveAPI) status(ctx context.Context, in *leavingIn) (*deletionOut, error) {
	is, err := a.Departures.Status(ctx, tenant.ID(in.Tenant))
	return &deletionOut{is}, err
}

// exportStall is how long a client may take for what was written, before its export ends.
const exportStall = time.Minute

func (a *LeaveAPI) export(ctx context.Context, in *leavingIn) (*huma.StreamResponse, error) {
	id := tenant.ID(in.Tenant)
	write, err := a.Exports.Begin(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := a.Audit(ctx, id); err != nil {
		_ = write(failing{err})
		return nil, err
	}
	name := fmt.Sprintf("headroom-%s-%s.tar.zst", tenant.SchemaName(id), time.Now().UTC().Format("2006-01-02"))
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humachi.Unwrap(hctx)
		w.Header().Set("Content-Type", "application/zstd")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
		w.Header().Set("Cache-Control", "no-store")
		if err := write(&patient{w, http.NewResponseController(w)}); err != nil {
			if ctx.Err() == nil {
				a.Logger.ErrorContext(ctx, "an export broke off", "tenant", in.Tenant, "error", err)
			}
			panic(http.ErrAbortHandler) // the client sees a connection that broke, and no manifest
		}
	}}, nil
}

// patient lets a stream take as long as it needs, as long as the client takes something.
type patient struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(exportStall)) // a writer that has none, as in tests, has no limit either
	return p.w.Write(b)
}

// failing takes nothing.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
