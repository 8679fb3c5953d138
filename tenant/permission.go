package tenant

import "slices"

// Resource is a kind of thing that somebody may do something with.
type Resource string

// The resources.
const (
	ResourceTelemetry    Resource = "telemetry"    // requests, spans, points of metrics, and what is computed of them
	ResourceTenants      Resource = "tenants"      // their names and the plans that they are on
	ResourceExports      Resource = "exports"      // archives of all that is stored of one tenant
	ResourceSLOs         Resource = "slos"         // definitions, and how they stand
	ResourceAlerts       Resource = "alerts"       // what burns, and who takes it
	ResourceSilences     Resource = "silences"     // what is not told for a while
	ResourceIncidents    Resource = "incidents"    // of the status page, with their updates
	ResourceComponents   Resource = "components"   // of the status page
	ResourceMaintenances Resource = "maintenances" // planned work, on the status page
	ResourceChangelog    Resource = "changelog"    // its entries
	ResourceDeploys      Resource = "deploys"      // which version went where, and when
	ResourceKeys         Resource = "keys"         // API keys
	ResourceUsers        Resource = "users"        // the people of the operator's organization, and their roles
	ResourceMembers      Resource = "members"      // the people of tenants' organizations, and their roles
	ResourceBranches     Resource = "branches"     // the parts of the operator that people are confined to
	ResourcePlans        Resource = "plans"        // what plans give, and what single tenants are given beyond theirs
	ResourceUsage        Resource = "usage"        // what tenants sent and stored
	ResourceWebhooks     Resource = "webhooks"     // where usage and changes of plans are told
	ResourceAudit        Resource = "audit"        // who did what
)

// resources are all of them, in the order of the documentation.
var resources = []Resource{
	ResourceTelemetry, ResourceTenants, ResourceExports, ResourceSLOs, ResourceAlerts, ResourceSilences, ResourceIncidents, ResourceComponents,
	ResourceMaintenances, ResourceChangelog, ResourceDeploys, ResourceKeys, ResourceUsers, ResourceMembers, ResourceBranches, ResourcePlans,
	ResourceUsage, ResourceWebhooks, ResourceAudit,
}

// Resources lists all resources.
func Resources() []Resource { return slices.Clone(resources) }

// Action is what somebody does with a resource.
type Action string

// The actions.
const (
	ActionCreate Action = "create"
	ActionRead   Action = "read"
	ActionUpdate Action = "update"
	ActionDelete Action = "delete"
)

// Actions lists all actions.
func Actions() []Action { return []Action{ActionCreate, ActionRead, ActionUpdate, ActionDelete} }

// Permission is an action on a kind of thing. An operation of the API and a page of the console each need one.
type Permission struct {
	Resource Resource
	Action   Action
}

// MayCreate returns the permission to create things of the kind.
func MayCreate(r Resource) Permission { return Permission{r, ActionCreate} }

// MayRead returns the permission to read things of the kind.
func MayRead(r Resource) Permission { return Permission{r, ActionRead} }

// MayUpdate returns the permission to change things of the kind.
func MayUpdate(r Resource) Permission { return Permission{r, ActionUpdate} }

// MayDelete returns the permission to delete things of the kind.
func MayDelete(r Resource) Permission { return Permission{r, ActionDelete} }

// String returns the permission as it is written: "slos:update".
func (p Permission) String() string { return string(p.Resource) + ":" + string(p.Action) }

// Exists reports whether there is such a thing to do.
func (p Permission) Exists() bool {
	_, ok := rules[p]
	return ok
}

// Scope returns the scope that gives a key the permission: ScopeAdmin where no lesser one does.
func (p Permission) Scope() Scope {
	if s := rules[p].scope; s != "" {
		return s
	}
	return ScopeAdmin
}

// Operator returns the least role in the operator's organization that has the permission; ok is false when no person has.
func (p Permission) Operator() (least Role, ok bool) {
	least = rules[p].operator
	return least, least != nobody
}

// Tenant returns the least role in a tenant's own organization that has the permission, for that tenant; ok is false when
// no person has.
func (p Permission) Tenant() (least Role, ok bool) {
	least = rules[p].tenant
	return least, least != nobody
}

// rule says who has a permission.
type rule struct {
	operator Role  // the least role of the operator's people
	tenant   Role  // the least role of a tenant's own people, for what is their tenant's
	scope    Scope // what gives it to a key; none: ScopeAdmin does
}

// rules is the one place that decides who may do what. What is not here nobody may do: permission_test.go names it, and
// why. docs/permissions.md is written from it.
//
// The operator's viewers read. Members work on what happens: alerts, silences, deploys. Managers decide what is promised and
// what is published. Admins decide who has access, and to what. Owners decide what is sold, who leaves, and who owns.
// A tenant's people see what is their tenant's own, and their admins decide who does.
var rules = map[Permission]rule{
	MayCreate(ResourceTelemetry): {nobody, nobody, ScopeIngest}, // machines only
	MayRead(ResourceTelemetry):   {RoleViewer, RoleViewer, ScopeQuery},

	MayCreate(ResourceTenants): {RoleAdmin, nobody, ""},
	MayRead(ResourceTenants):   {RoleViewer, RoleViewer, ScopeQuery},
	MayUpdate(ResourceTenants): {RoleAdmin, nobody, ""},
	MayDelete(ResourceTenants): {RoleOwner, nobody, ""},

	MayCreate(ResourceExports): {RoleAdmin, RoleOwner, ""}, // everything of a tenant at once, its people's addresses too

	MayCreate(ResourceSLOs): {RoleManager, nobody, ScopeSLOWrite},
	MayRead(ResourceSLOs):   {RoleViewer, RoleViewer, ScopeQuery},
	MayUpdate(ResourceSLOs): {RoleManager, nobody, ScopeSLOWrite},
	MayDelete(ResourceSLOs): {RoleManager, nobody, ScopeSLOWrite},

	MayRead(ResourceAlerts):   {RoleViewer, nobody, ScopeQuery}, // they name the other tenants that burn
	MayUpdate(ResourceAlerts): {RoleMember, nobody, ScopeAlertWrite},

	MayCreate(ResourceSilences): {RoleMember, nobody, ScopeAlertWrite},
	MayRead(ResourceSilences):   {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceSilences): {RoleMember, nobody, ScopeAlertWrite},
	MayDelete(ResourceSilences): {RoleMember, nobody, ScopeAlertWrite},

	// What the public may read of the status page, tenants' people read there: the API shows what is yet to be published.
	MayCreate(ResourceIncidents):    {RoleManager, nobody, ScopeStatusWrite},
	MayRead(ResourceIncidents):      {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceIncidents):    {RoleManager, nobody, ScopeStatusWrite},
	MayCreate(ResourceComponents):   {RoleManager, nobody, ScopeStatusWrite},
	MayRead(ResourceComponents):     {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceComponents):   {RoleManager, nobody, ScopeStatusWrite},
	MayDelete(ResourceComponents):   {RoleManager, nobody, ScopeStatusWrite},
	MayCreate(ResourceMaintenances): {RoleManager, nobody, ScopeStatusWrite},
	MayRead(ResourceMaintenances):   {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceMaintenances): {RoleManager, nobody, ScopeStatusWrite},
	MayDelete(ResourceMaintenances): {RoleManager, nobody, ScopeStatusWrite},
	MayCreate(ResourceChangelog):    {RoleManager, nobody, ScopeStatusWrite},
	MayRead(ResourceChangelog):      {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceChangelog):    {RoleManager, nobody, ScopeStatusWrite},
	MayDelete(ResourceChangelog):    {RoleManager, nobody, ScopeStatusWrite},

	MayCreate(ResourceDeploys): {RoleMember, nobody, ScopeIngest}, // what builds and deploys reports it, as it reports telemetry
	MayRead(ResourceDeploys):   {RoleViewer, nobody, ScopeQuery},
	MayUpdate(ResourceDeploys): {RoleMember, nobody, ScopeIngest},
	MayDelete(ResourceDeploys): {RoleMember, nobody, ""},

	MayCreate(ResourceKeys): {RoleAdmin, RoleAdmin, ""}, // no key may do more than who makes it: Identity.MayGive
	MayRead(ResourceKeys):   {RoleAdmin, RoleAdmin, ""},
	MayUpdate(ResourceKeys): {RoleAdmin, RoleAdmin, ""},
	MayDelete(ResourceKeys): {RoleAdmin, RoleAdmin, ""},

	MayCreate(ResourceUsers): {RoleAdmin, nobody, ""}, // nobody gives a role above their own: Identity.MayGrant
	MayRead(ResourceUsers):   {RoleAdmin, nobody, ""},
	MayUpdate(ResourceUsers): {RoleAdmin, nobody, ""},
	MayDelete(ResourceUsers): {RoleAdmin, nobody, ""},

	MayCreate(ResourceMembers): {RoleAdmin, RoleAdmin, ""},
	MayRead(ResourceMembers):   {RoleAdmin, RoleViewer, ""},
	MayUpdate(ResourceMembers): {RoleAdmin, RoleAdmin, ""},
	MayDelete(ResourceMembers): {RoleAdmin, RoleAdmin, ""},

	MayCreate(ResourceBranches): {RoleAdmin, nobody, ""},
	MayRead(ResourceBranches):   {RoleAdmin, nobody, ""},
	MayUpdate(ResourceBranches): {RoleAdmin, nobody, ""},
	MayDelete(ResourceBranches): {RoleAdmin, nobody, ""},

	MayCreate(ResourcePlans): {RoleOwner, nobody, ""},
	MayRead(ResourcePlans):   {RoleViewer, RoleViewer, ScopeQuery},
	MayUpdate(ResourcePlans): {RoleOwner, nobody, ""},
	MayDelete(ResourcePlans): {RoleOwner, nobody, ""},

	MayRead(ResourceUsage): {RoleViewer, RoleViewer, ScopeQuery},

	MayCreate(ResourceWebhooks): {RoleAdmin, nobody, ""},
	MayRead(ResourceWebhooks):   {RoleAdmin, nobody, ""},
	MayUpdate(ResourceWebhooks): {RoleAdmin, nobody, ""},
	MayDelete(ResourceWebhooks): {RoleAdmin, nobody, ""},

	MayRead(ResourceAudit): {RoleAdmin, RoleAdmin, ""},
}

// Permissions lists all that there are, by resource and action.
func Permissions() []Permission {
	var all []Permission
	for _, r := range resources {
		for _, a := range Actions() {
			if p := (Permission{r, a}); p.Exists() {
				all = append(all, p)
			}
		}
	}
	return all
}
