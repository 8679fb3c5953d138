package web

import (
	"context"
	"net/http"

	"github.com/nexis-limited/headroom/tenant"
)

type branchBody struct {
	Name     string   `json:"name" doc:"For people, and for groups of an OpenID provider; unique."`
	Products []string `json:"products,omitempty" doc:"Those that people of the branch see; all when empty."`
	Services []string `json:"services,omitempty" doc:"The same of services."`
	Tenants  []string `json:"tenants,omitempty" doc:"The same of tenants, by their ids."`
}

func (b *branchBody) branch(id int64) tenant.Branch {
	t := tenant.Branch{ID: id, Name: b.Name, Products: b.Products, Services: b.Services}
	for _, of := range b.Tenants {
		t.Tenants = append(t.Tenants, tenant.ID(of))
	}
	return t
}

type branchIn struct {
	ID int64 `path:"id"`
}

type createBranchIn struct{ Body branchBody }

type putBranchIn struct {
	ID   int64 `path:"id"`
	Body branchBody
}

type branchOut struct{ Body tenant.Branch }

type branchesOut struct {
	Body struct {
		Branches []tenant.Branch `json:"branches"`
	}
}

// RegisterBranchAPI adds the operations on the operator's branches.
func RegisterBranchAPI(api *API, branches *tenant.Branches) {
	const path = "/api/v1/branches"
	const doc = "Who is confined to a branch sees what is in all of its lists. Changes hold from the next request on."
	Register(api, Operation{Method: http.MethodGet, Path: path, ID: "list-branches", Tag: "Branches", Summary: "List the branches, by name",
		Permission: tenant.MayRead(tenant.ResourceBranches)},
		func(ctx context.Context, _ *struct{}) (*branchesOut, error) {
			list, err := branches.List(ctx)
			if err != nil {
				return nil, err
			}
			out := &branchesOut{}
			out.Body.Branches = append([]tenant.Branch{}, list...)
			return out, nil
		})
	Register(api, Operation{Method: http.MethodPost, Path: path, ID: "create-branch", Tag: "Branches", Summary: "Add a branch", Doc: doc,
		Permission: tenant.MayCreate(tenant.ResourceBranches), Status: http.StatusCreated},
		func(ctx context.Context, in *createBranchIn) (*branchOut, error) {
			return branch(branches.Create(ctx, in.Body.branch(0)))
		})
	Register(api, Operation{Method: http.MethodGet, Path: path + "/{id}", ID: "get-branch", Tag: "Branches", Summary: "Read a branch",
		Permission: tenant.MayRead(tenant.ResourceBranches)},
		func(ctx context.Context, in *branchIn) (*branchOut, error) {
			b, err := branches.Get(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &branchOut{*b}, nil
		})
	Register(api, Operation{Method: http.MethodPut, Path: path + "/{id}", ID: "put-branch", Tag: "Branches", Summary: "Change a branch", Doc: doc,
		Permission: tenant.MayUpdate(tenant.ResourceBranches)},
		func(ctx context.Context, in *putBranchIn) (*branchOut, error) {
			return branch(branches.Put(ctx, in.Body.branch(in.ID)))
		})
	Register(api, Operation{Method: http.MethodDelete, Path: path + "/{id}", ID: "delete-branch", Tag: "Branches", Summary: "Delete a branch that nobody is confined to",
		Permission: tenant.MayDelete(tenant.ResourceBranches), Status: http.StatusNoContent},
		func(ctx context.Context, in *branchIn) (*struct{}, error) { return nil, branches.Delete(ctx, in.ID) })
}

func branch(b tenant.Branch, err error) (*branchOut, error) {
	if err != nil {
		return nil, err
	}
	return &branchOut{b}, nil
}
