package tenant

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// AuditEntry says what was done. Who did it, and from where, Audit takes from the context.
type AuditEntry struct {
	// Action is what was done to what: the kind of resource, a dot, and a verb, such as "key.create". docs/audit.md lists all.
	Action string
	// Kind is the kind of resource; by default the part of Action before the dot.
	Kind string
	// Resource is the id of what it was done to.
	Resource string

	// Tenant is whose entry it is. Its people may read it, with Before and After: leave it empty for what concerns the
	// operator only. By default it is the tenant that the caller is bound to.
	Tenant ID
	// Operator makes it the operator's entry whoever the caller is.
	Operator bool

	// Before and After are the resource, or what changed of it; nil for what was not there, or is gone. They are stored as
	// JSON; what must not be stored has the type Secret. What is too long is left out, see maxAuditValue.
	Before, After any

	// Actor is who did it where the context carries no identity: headroom itself by default.
	Actor string
}

// ActorKind says what kind of caller did something.
type ActorKind string

// The kinds.
const (
	ActorKey    ActorKind = "key"
	ActorUser   ActorKind = "user"
	ActorSystem ActorKind = "system" // headroom itself
)

// systemActor is the name of headroom in the audit log.
const systemActor = "headroom"

// Audit writes what is done to the audit log, in the transaction that does it, so that there is neither without the other. It is
// the only one that writes there. An entry never makes a change fail for what is in it; a log that cannot be written does.
// The transaction may be any tenant's when the entry is the operator's; else it names the entry's tenant, or crosses tenants.
func Audit(ctx context.Context, tx pgx.Tx, e AuditEntry) error {
	return auditWith(ctx, tx, e)
}

// auditWith is Audit with pgx's options for the statement.
func auditWith(ctx context.Context, tx pgx.Tx, e AuditEntry, options ...any) error {
	if e.Kind == "" {
		e.Kind, _, _ = strings.Cut(e.Action, ".")
	}
	who := actorOf(ctx, &e)
	switch {
	case e.Operator:
		e.Tenant = Untagged
	case e.Tenant == Untagged:
		e.Tenant = who.tenant
	}
	from := OriginFrom(ctx)
	before, after := auditValue(e.Before), auditValue(e.After)
	args := append(options, clip(who.name, maxAuditText), who.kind, clip(who.id, maxAuditText), who.tenant, e.Tenant, from.Address,
		clip(from.UserAgent, maxAuditText), e.Action, e.Kind, clip(e.Resource, maxAuditText), before, after, auditWords(&e, who, before, after))
	_, err := tx.Exec(ctx, `
		INSERT INTO control.audit_log (actor, actor_kind, actor_id, actor_tenant, tenant, address, user_agent, action, resource_kind, resource_id,
			before, after, words)
		VALUES ($1, $2, $3, nullif($4, ''), nullif($5, ''), $6, $7, $8, $9, $10, $11, $12, array_to_tsvector($13::text[]))`, args...)
	if err != nil {
		return fmt.Errorf("cannot write %s of %q to the audit log: %w", e.Action, e.Resource, err)
	}
	return nil
}

// actor is who does something.
type actor struct {
	name   string
	kind   ActorKind
	id     string
	tenant ID // whose it is; empty: the operator's, or nobody's
}

func actorOf(ctx context.Context, e *AuditEntry) actor {
	i, ok := IdentityFrom(ctx)
	switch {
	case ok && i.Person():
		return actor{name: i.Actor(), kind: ActorUser, id: strconv.FormatInt(i.UserID, 10), tenant: i.Tenant}
	case ok:
		return actor{name: i.Actor(), kind: ActorKey, id: strconv.FormatInt(i.KeyID, 10), tenant: i.Tenant}
	case e.Actor != "":
		return actor{name: e.Actor, kind: ActorSystem}
	}
	return actor{name: systemActor, kind: ActorSystem}
}

// Origin is where a request comes from.
type Origin struct {
	Address   netip.Addr // of the caller, past our own proxies; not valid when nobody knows it
	UserAgent string
}

type originKey struct{}

// WithOrigin returns a context that carries where the request comes from.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginFrom returns where the request comes from; nothing for what headroom does by itself.
func OriginFrom(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}
