package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/VictoriaMetrics/metrics"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// maxAPIBody is the largest body that an operation takes unless it says otherwise, in bytes.
const maxAPIBody = 1 << 20

// API is the JSON API under /api/v1, with its OpenAPI 3.1 document at /openapi.json and a page for readers at /docs.
type API struct {
	huma  huma.API
	names *schemaNamer
	log   *slog.Logger
}

// Operation declares one operation of the API. Every one names the permission that it needs.
type Operation struct {
	Method  string // http.MethodGet …
	Path    string // /api/v1/…, with {parameters}
	ID      string // kebab-case, unique: "list-slos"
	Summary string
	Doc     string // a paragraph, Markdown
	Tag     string // the group in the documentation: "SLOs"
	Status  int    // of success, 200 by default
	MaxBody int64  // in bytes, 1 MiB by default

	Permission tenant.Permission // what the caller needs: tenant.MayRead(tenant.ResourceSLOs)

	// SignedIn, in place of Permission, lets in everybody who is known, whatever they are bound to: for what answers with
	// nothing but the caller's own identity.
	SignedIn bool

	// The parameters of path or query that confine a call to one tenant, to one product. Only keys that are bound to
	// neither may call an operation that has none: what it answers is about all.
	TenantParameter, ProductParameter string

	// KeepsToBranch says that the handler leaves out of its answer what is not in the branch that its caller is confined to.
	// Without it such people are refused. What the parameters name must be in the branch, or is not found.
	KeepsToBranch bool
}

// NewAPI mounts the API on a router. Callers are authenticated before they reach it (see Auth.Middleware).
func NewAPI(router chi.Router, version string, log *slog.Logger) *API {
	cfg := huma.DefaultConfig("headroom", version)
	cfg.Info.Description = "Per-tenant latency, errors and error budgets. Send `Authorization: Bearer KEY`."
	cfg.DocsPath = "" // its renderer comes from a CDN, which our Content-Security-Policy refuses
	cfg.SchemasPath = ""
	cfg.CreateHooks = nil // no $schema members in answers
	cfg.RejectUnknownQueryParameters = true
	names := newSchemaNamer()
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", names.name)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "An API key, see headroom key create."},
	}
	return &API{huma: humachi.New(router, cfg), names: names, log: log.With("component", "api")}
}

// Register adds an operation. The handler takes huma's kind of input (fields tagged path, query, header, and Body) and
// may return errors of package fault; all others are answered as internal and logged.
func Register[In, Out any](api *API, op Operation, handler func(ctx context.Context, in *In) (*Out, error)) {
	if op.SignedIn == op.Permission.Exists() {
		panic(fmt.Sprintf("BUG: operation %s names no permission that there is, but %q", op.ID, op.Permission))
	}
	if op.MaxBody == 0 {
		op.MaxBody = maxAPIBody
	}
	api.names.operation = op.ID
	limits := newBounds[In](op)
	huma.Register(api.huma, huma.Operation{
		Method: op.Method, Path: op.Path, OperationID: op.ID, Summary: op.Summary, Description: limits.document(), Tags: []string{op.Tag},
		DefaultStatus: op.Status, MaxBodyBytes: op.MaxBody,
		Security:   []map[string][]string{{"key": op.scopes()}},
		Extensions: op.extensions(),
		Errors:     []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable},
		// Identity and permission are checked before the input is read, so that a stranger learns nothing of it.
		Middlewares: huma.Middlewares{func(hctx huma.Context, next func(huma.Context)) {
			if err := authorize(hctx.Context(), &limits); err != nil {
				_, w := humachi.Unwrap(hctx)
				setErrorHeaders(w.Header(), err)
				WriteProblem(w, err)
				countResponse(op.ID, Status(err))
				return
			}
			next(hctx)
			countResponse(op.ID, hctx.Status())
		}},
	}, func(ctx context.Context, in *In) (out *Out, err error) {
		defer func() {
			if p := recover(); p != nil {
				out, err = nil, api.problem(ctx, op, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		who, _ := tenant.IdentityFrom(ctx) // authorize saw it
		if !op.SignedIn {
			err = limits.check(who, in)
		}
		if err == nil {
			out, err = handler(ctx, in)
		}
		if err != nil {
			return nil, api.problem(ctx, op, err)
		}
		return out, nil
	})
}

// scopes are those that a key needs for the operation.
func (op *Operation) scopes() []string {
	if op.SignedIn {
		return []string{}
	}
	return []string{string(op.Permission.Scope())}
}

// extensions tell readers of the OpenAPI document who is let in.
func (op *Operation) extensions() map[string]any {
	if op.SignedIn {
		return nil
	}
	return map[string]any{"x-permission": op.Permission.String()}
}

// countResponse counts an answer. Operations and statuses are few, so the metrics are too.
func countResponse(operation string, status int) {
	metrics.GetOrCreateCounter(fmt.Sprintf("headroom_api_responses_total{operation=%q,status=\"%d\"}", operation, status)).Inc()
}

func authorize(ctx context.Context, limits *bounds) error {
	who, ok := tenant.IdentityFrom(ctx)
	if !ok {
		return fault.New(fault.Unauthenticated, "no API key: send the header \"Authorization: Bearer hr_…\"")
	}
	if limits.op.SignedIn {
		return nil
	}
	if err := who.CheckWithin(limits.op.Permission); err != nil {
		return err
	}
	return limits.open(who)
}

// problem turns err into what huma writes.
func (a *API) problem(ctx context.Context, op Operation, err error) error {
	p := NewProblem(err)
	if p.Status >= 500 && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "an operation failed", "operation", op.ID, "status", p.Status, "error", err)
	}
	m := &huma.ErrorModel{Title: p.Title, Status: p.Status, Detail: p.Detail}
	for _, d := range p.Errors {
		m.Errors = append(m.Errors, &huma.ErrorDetail{Message: d.Message, Location: d.Location, Value: d.Value})
	}
	h := http.Header{}
	setErrorHeaders(h, err)
	return huma.ErrorWithHeaders(m, h)
}
