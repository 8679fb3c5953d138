package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// keyView is an API key as the API shows it. Key, its text, is there only in the answer to its making.
type keyView struct {
	Prefix     string         `json:"prefix"`
	Name       string         `json:"name"`
	Scopes     []tenant.Scope `json:"scopes"`
	Tenant     tenant.ID      `json:"tenant,omitempty" doc:"The tenant that it is bound to."`
	Product    string         `json:"product,omitempty" doc:"The product that it is bound to."`
	Key        string         `json:"key,omitempty" doc:"Its text: in the answer that makes it only."`
	CreatedAt  time.Time      `json:"created_at"`
	CreatedBy  string         `json:"created_by,omitempty"`
	ExpiresAt  *time.Time     `json:"expires_at,omitempty"`
	RevokedAt  *time.Time     `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time     `json:"last_used_at,omitempty" doc:"To a minute or so."`
	Replaces   string         `json:"replaces,omitempty" doc:"Prefix of the key whose rotation made it."`
}

func newKeyView(k tenant.Key, text string) keyView {
	return keyView{Prefix: k.Prefix, Name: k.Name, Scopes: k.Scopes, Tenant: k.Tenant, Product: k.Product, Key: text,
		CreatedAt: k.CreatedAt.UTC(), CreatedBy: k.CreatedBy, ExpiresAt: inUTC(k.ExpiresAt), RevokedAt: inUTC(k.RevokedAt),
		LastUsedAt: inUTC(k.LastUsedAt), Replaces: k.Replaces}
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

type createKeyIn struct {
	Body struct {
		Name      string     `json:"name" doc:"What the key is for."`
		Scopes    []string   `json:"scopes" doc:"What it may do."`
		Tenant    *string    `json:"tenant,omitempty" doc:"Bind it to this tenant; its scopes are then some of ingest:write and query:read."`
		Product   *string    `json:"product,omitempty" doc:"Bind it to this product, in the same way."`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When it stops working; never by default."`
	}
}

type prefixIn struct {
	Prefix string `path:"prefix" maxLength:"100" doc:"The part of the key between the underscores."`
}

type rotateKeyIn struct {
	Prefix string `path:"prefix" maxLength:"100" doc:"The part of the old key between the underscores."`
	Body   struct {
		Overlap string `json:"overlap,omitempty" default:"24h" example:"24h" doc:"How long the old key goes on working, such as 30m or 24h; 0s ends it at once."`
	}
}

type keyOut struct{ Body keyView }

type keysOut struct {
	Body struct {
		Keys []keyView `json:"keys"`
	}
}

type rotatedKeyOut struct {
	Body struct {
		New keyView `json:"new" doc:"With its text."`
		Old keyView `json:"old" doc:"With when it ends."`
	}
}

type keyAPI struct{ keys *tenant.Keys }

// RegisterKeyAPI adds the operations on API keys.
func RegisterKeyAPI(api *API, keys *tenant.Keys) {
	k := keyAPI{keys}
	op := func(may tenant.Permission, method, path, id, summary, doc string, status int) Operation {
		return Operation{Method: method, Path: "/api/v1/keys" + path, ID: id, Summary: summary, Doc: doc, Tag: "Keys", Permission: may, Status: status}
	}
	Register(api, op(tenant.MayRead(tenant.ResourceKeys), http.MethodGet, "", "list-keys", "List API keys", "The newest first, with those that have ended.", http.StatusOK), k.list)
	Register(api, op(tenant.MayCreate(tenant.ResourceKeys), http.MethodPost, "", "create-key", "Make an API key", "Its text is in this answer only.", http.StatusCreated), k.create)
	Register(api, op(tenant.MayUpdate(tenant.ResourceKeys), http.MethodPost, "/{prefix}/rotate", "rotate-key", "Replace an API key by a new one",
		"The new one has its name, scopes and bounds. The old one goes on for the overlap.", http.StatusCreated), k.rotate)
	Register(api, op(tenant.MayDelete(tenant.ResourceKeys), http.MethodDelete, "/{prefix}", "revoke-key", "Revoke an API key", "Every instance refuses it within a second.", http.StatusNoContent), k.revoke)
}

func (k keyAPI) list(ctx context.Context, _ *struct{}) (*keysOut, error) {
	list, err := k.keys.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &keysOut{}
	out.Body.Keys = make([]keyView, len(list))
	for i, key := range list {
		out.Body.Keys[i] = newKeyView(key, "")
	}
	return out, nil
}

func (k keyAPI) create(ctx context.Context, in *createKeyIn) (*keyOut, error) {
	scopes, err := tenant.ParseScopes(in.Body.Scopes)
	if err != nil {
		return nil, err
	}
	n := tenant.NewKey{Name: in.Body.Name, Scopes: scopes, ExpiresAt: in.Body.ExpiresAt}
	for field, to := range map[string]*string{"tenant": in.Body.Tenant, "product": in.Body.Product} {
		if to != nil && *to == "" {
			return nil, fault.InvalidField(field, "", "must not be empty: leave it out for a key that is not bound to one")
		}
	}
	if in.Body.Tenant != nil {
		n.Tenant = tenant.ID(*in.Body.Tenant)
	}
	if in.Body.Product != nil {
		n.Product = *in.Body.Product
	}
	who, _ := tenant.IdentityFrom(ctx)
	if err := who.MayGive(scopes); err != nil {
		return nil, err
	}
	key, text, err := k.keys.Create(ctx, who.Name, n)
	if err != nil {
		return nil, err
	}
	return &keyOut{Body: newKeyView(key, text)}, nil
}

func (k keyAPI) rotate(ctx context.Context, in *rotateKeyIn) (*rotatedKeyOut, error) {
	overlap, err := time.ParseDuration(in.Body.Overlap)
	if err != nil {
		return nil, fault.InvalidField("overlap", in.Body.Overlap, "must be a duration such as 30m or 24h")
	}
	who, _ := tenant.IdentityFrom(ctx)
	if err := k.mayHave(ctx, who, in.Prefix); err != nil {
		return nil, err
	}
	old, successor, text, err := k.keys.Rotate(ctx, who.Name, in.Prefix, overlap)
	if err != nil {
		return nil, err
	}
	out := &rotatedKeyOut{}
	out.Body.New, out.Body.Old = newKeyView(successor, text), newKeyView(old, "")
	return out, nil
}

// mayHave reports why the caller must not have the text of a key that does what the key with the prefix does.
func (k keyAPI) mayHave(ctx context.Context, who tenant.Identity, prefix string) error {
	if !who.Person() {
		return nil // keys that may make keys may do everything
	}
	list, err := k.keys.List(ctx)
	if err != nil {
		return err
	}
	for _, key := range list {
		if key.Prefix == prefix {
			return who.MayGive(key.Scopes)
		}
	}
	return nil // Rotate says that there is none
}

func (k keyAPI) revoke(ctx context.Context, in *prefixIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, k.keys.Revoke(ctx, who.Name, in.Prefix)
}
