package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// userView is a person as the API shows them.
type userView struct {
	ID           int64       `json:"id"`
	Email        string      `json:"email"`
	Name         string      `json:"name"`
	Role         tenant.Role `json:"role,omitempty" doc:"In the operator's organization."`
	Branch       int64       `json:"branch,omitempty" doc:"The branch that they are confined to."`
	RoleSource   string      `json:"role_source,omitempty" doc:"person or groups: a role from the provider's groups goes with them."`
	HasPassword  bool        `json:"has_password"`
	Issuer       string      `json:"issuer,omitempty" doc:"The OpenID provider that they signed in at."`
	CreatedAt    time.Time   `json:"created_at"`
	CreatedBy    string      `json:"created_by"`
	DisabledAt   *time.Time  `json:"disabled_at,omitempty"`
	LastSignInAt *time.Time  `json:"last_sign_in_at,omitempty"`
}

func newUserView(u tenant.User) userView {
	return userView{ID: u.ID, Email: u.Email, Name: u.Name, Role: u.Role, Branch: u.Branch, RoleSource: u.RoleSource, HasPassword: u.HasPassword,
		Issuer: u.Issuer, CreatedAt: u.CreatedAt.UTC(), CreatedBy: u.CreatedBy, DisabledAt: inUTC(u.DisabledAt), LastSignInAt: inUTC(u.LastSignInAt)}
}

type createUserIn struct {
	Body struct {
		Email    string      `json:"email" maxLength:"254" doc:"The person's address; case does not matter."`
		Name     string      `json:"name,omitempty" doc:"What people call them."`
		Role     tenant.Role `json:"role,omitempty" doc:"In the operator's organization: owner, admin, manager, member or viewer. Tenants' people need none."`
		Branch   int64       `json:"branch,omitempty" doc:"Confine them to this branch."`
		Password string      `json:"password,omitempty" doc:"At least 12 characters. Without one they sign in at the OpenID provider."`
	}
}

type userIn struct {
	ID int64 `path:"id" doc:"The user's id."`
}

type changeUserIn struct {
	ID   int64 `path:"id" doc:"The user's id."`
	Body struct {
		Name     *string      `json:"name,omitempty"`
		Role     *tenant.Role `json:"role,omitempty" doc:"Empty takes it away."`
		Branch   *int64       `json:"branch,omitempty" doc:"0 for all of the organization."`
		Password *string      `json:"password,omitempty" doc:"A new one ends the person's sessions."`
		Disabled *bool        `json:"disabled,omitempty" doc:"Nobody who is disabled is let in; their sessions end."`
	}
}

type userOut struct{ Body userView }

type usersOut struct {
	Body struct {
		Users []userView `json:"users"`
	}
}

type userAPI struct{ users *tenant.Users }

// RegisterUserAPI adds the operations on the people of the operator's organization, and the one that says who asks.
func RegisterUserAPI(api *API, users *tenant.Users) {
	a := userAPI{users}
	const path = "/api/v1/users"
	op := func(method, path, id, summary, doc string, status int, p tenant.Permission) Operation {
		return Operation{Method: method, Path: path, ID: id, Summary: summary, Doc: doc, Tag: "Users", Status: status, Permission: p}
	}
	Register(api, op(http.MethodGet, path, "list-users", "List users", "By address.", http.StatusOK, tenant.MayRead(tenant.ResourceUsers)), a.list)
	Register(api, op(http.MethodPost, path, "create-user", "Let a person in",
		"They sign in with the password, or at the OpenID provider with this address. Nobody gives a role above their own.",
		http.StatusCreated, tenant.MayCreate(tenant.ResourceUsers)), a.create)
	Register(api, op(http.MethodPatch, path+"/{id}", "change-user", "Change a user",
		"What is left out stays. It holds from the person's next request. The last owner stays one.", http.StatusOK, tenant.MayUpdate(tenant.ResourceUsers)), a.change)
	Register(api, op(http.MethodDelete, path+"/{id}", "delete-user", "Delete a user", "Their sessions end. The last owner stays.",
		http.StatusNoContent, tenant.MayDelete(tenant.ResourceUsers)), a.remove)
}

func (a userAPI) list(ctx context.Context, _ *struct{}) (*usersOut, error) {
	list, err := a.users.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &usersOut{}
	out.Body.Users = make([]userView, len(list))
	for i, u := range list {
		out.Body.Users[i] = newUserView(u)
	}
	return out, nil
}

func (a userAPI) create(ctx context.Context, in *createUserIn) (*userOut, error) {
	who, _ := tenant.IdentityFrom(ctx)
	b := &in.Body
	u, err := a.users.Create(ctx, who, tenant.NewUser{Email: b.Email, Name: b.Name, Role: b.Role, Branch: b.Branch, Password: b.Password})
	if err != nil {
		return nil, err
	}
	return &userOut{newUserView(u)}, nil
}

func (a userAPI) change(ctx context.Context, in *changeUserIn) (*userOut, error) {
	who, _ := tenant.IdentityFrom(ctx)
	b := &in.Body
	u, err := a.users.Change(ctx, who, in.ID, tenant.UserChange{Name: b.Name, Role: b.Role, Branch: b.Branch, Password: b.Password, Disabled: b.Disabled})
	if err != nil {
		return nil, err
	}
	return &userOut{newUserView(u)}, nil
}

func (a userAPI) remove(ctx context.Context, in *userIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, a.users.Delete(ctx, who, in.ID)
}
