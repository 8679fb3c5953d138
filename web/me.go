package web

import (
	"context"
	"net/http"

	"github.com/nexis-limited/headroom/tenant"
)

// meView is the caller as the API shows them.
type meView struct {
	Kind         string         `json:"kind" enum:"key,person" doc:"What asks."`
	Name         string         `json:"name" doc:"The key's name, or the person's address."`
	Role         tenant.Role    `json:"role,omitempty" doc:"A person's, in their organization."`
	Scopes       []tenant.Scope `json:"scopes,omitempty" doc:"A key's."`
	Organization string         `json:"organization" enum:"operator,tenant" doc:"A tenant's own people, and keys that are bound to a tenant, are of the tenant."`
	Tenant       tenant.ID      `json:"tenant,omitempty" doc:"The tenant that they are bound to."`
	Product      string         `json:"product,omitempty" doc:"The product that they are bound to."`
	Branch       string         `json:"branch,omitempty" doc:"The branch that they are confined to."`
	Permissions  []string       `json:"permissions" doc:"What they may do, within what they are bound to."`
}

type meOut struct{ Body meView }

// RegisterMeAPI adds the operation that says who asks.
func RegisterMeAPI(api *API) {
	Register(api, Operation{Method: http.MethodGet, Path: "/api/v1/me", ID: "get-me", Summary: "Say who asks", Tag: "Users", SignedIn: true,
		Doc: "The key or the person whose session this is, and what they may do. Everybody who is signed in may ask."}, me)
}

func me(ctx context.Context, _ *struct{}) (*meOut, error) {
	who, _ := tenant.IdentityFrom(ctx) // authorize saw it
	v := meView{Kind: "key", Name: who.Name, Role: who.Role, Scopes: who.Scopes, Organization: "operator", Tenant: who.Tenant, Product: who.Product, Permissions: []string{}}
	if who.Person() {
		v.Kind = "person"
	}
	if who.Tenant != tenant.Untagged {
		v.Organization = "tenant"
	}
	if who.Branch != nil {
		v.Branch = who.Branch.Name
	}
	for _, p := range tenant.Permissions() {
		if who.Has(p) {
			v.Permissions = append(v.Permissions, p.String())
		}
	}
	return &meOut{v}, nil
}
