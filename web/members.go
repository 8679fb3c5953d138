package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// memberView is a person of a tenant as the API shows it.
type memberView struct {
	Email   string      `json:"email"`
	Name    string      `json:"name"`
	Role    tenant.Role `json:"role"`
	AddedBy string      `json:"added_by"`
	AddedAt time.Time   `json:"added_at"`
}

type membersIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
}

type memberIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	Email  string `path:"email" maxLength:"254" doc:"The person's address; case does not matter."`
}

type putMemberIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	Email  string `path:"email" maxLength:"254" doc:"The person's address; case does not matter."`
	Body   struct {
		Name string      `json:"name,omitempty" doc:"What people call them."`
		Role tenant.Role `json:"role" doc:"owner, admin, manager, member or viewer."`
	}
}

type membersOut struct {
	Body struct {
		Members []memberView `json:"members"`
	}
}

type memberAPI struct{ members *tenant.Members }

// RegisterMemberAPI adds the operations on the people of tenants.
func RegisterMemberAPI(api *API, members *tenant.Members) {
	a := &memberAPI{members}
	const path = "/api/v1/tenants/{tenant}/members"
	op := Operation{Path: path, Tag: "Members", TenantParameter: "tenant"}
	list, put, remove := op, op, op
	list.Method, list.ID, list.Summary = http.MethodGet, "list-members", "List the people of a tenant"
	put.Method, put.Path, put.ID, put.Summary, put.Status = http.MethodPut, path+"/{email}", "put-member", "Add a person to a tenant, or change their name and role",
		http.StatusNoContent
	put.Doc = "Nobody gives a role above their own, nor changes somebody whose role is; a tenant's own people keep an owner. The tenant must have been given a plan. Its first member makes the schema that holds the tenant's own data."
	remove.Method, remove.Path, remove.ID, remove.Summary, remove.Status = http.MethodDelete, path+"/{email}", "remove-member", "Remove a person from a tenant",
		http.StatusNoContent
	list.Permission, put.Permission, remove.Permission = tenant.MayRead(tenant.ResourceMembers), tenant.MayUpdate(tenant.ResourceMembers), tenant.MayDelete(tenant.ResourceMembers)
	Register(api, list, a.list)
	Register(api, put, a.put)
	Register(api, remove, a.remove)
}

func (a *memberAPI) list(ctx context.Context, in *membersIn) (*membersOut, error) {
	members, err := a.members.List(ctx, tenant.ID(in.Tenant))
	if err != nil {
		return nil, err
	}
	out := &membersOut{}
	out.Body.Members = make([]memberView, len(members))
	for i, m := range members {
		out.Body.Members[i] = memberView{m.Email, m.Name, m.Role, m.AddedBy, m.AddedAt.UTC()}
	}
	return out, nil
}

func (a *memberAPI) put(ctx context.Context, in *putMemberIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, a.members.Put(ctx, who, tenant.ID(in.Tenant), tenant.Member{Email: in.Email, Name: in.Body.Name, Role: in.Body.Role})
}

func (a *memberAPI) remove(ctx context.Context, in *memberIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, a.members.Remove(ctx, who, tenant.ID(in.Tenant), in.Email)
}
