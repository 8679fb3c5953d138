package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// keyView is an API key as the API shows it. Key, its text, is there only in the answer to its making.
type keyView struct {
	Prefix     string         `json:"prefix"`
	Name       string         `json:"name"`
	Scopes     []tenant.Scope `json:"scopes"`
	Key        string         `json:"key,omitempty"`
	CreatedAt  time.Time      `json:"created_at"`
	ExpiresAt  *time.Time     `json:"expires_at,omitempty"`
	RevokedAt  *time.Time     `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time     `json:"last_used_at,omitempty"`
}

func newKeyView(k tenant.Key, text string) keyView {
	return keyView{Prefix: k.Prefix, Name: k.Name, Scopes: k.Scopes, Key: text, CreatedAt: k.CreatedAt.UTC(),
		ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt, LastUsedAt: k.LastUsedAt}
}

type createKeyIn struct {
	Body struct {
		Name      string     `json:"name" doc:"What the key is for"`
		Scopes    []string   `json:"scopes" doc:"What it may do"`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When it stops working; never by default"`
	}
}

type keyOut struct{ Body keyView }

type keysOut struct {
	Body struct {
		Keys []keyView `json:"keys"`
	}
}

// RegisterKeyAPI adds the operations on API keys.
func RegisterKeyAPI(api *API, keys *tenant.Keys) {
	const tag = "Keys"
	Register(api, Operation{Method: http.MethodGet, Path: "/api/v1/keys", ID: "list-keys", Summary: "List API keys", Tag: tag, Scope: tenant.ScopeAdmin},
		func(ctx context.Context, _ *struct{}) (*keysOut, error) {
			list, err := keys.List(ctx)
			if err != nil {
				return nil, err
			}
			out := &keysOut{}
			out.Body.Keys = make([]keyView, len(list))
			for i, k := range list {
				out.Body.Keys[i] = newKeyView(k, "")
			}
			return out, nil
		})
	Register(api, Operation{Method: http.MethodPost, Path: "/api/v1/keys", ID: "create-key", Summary: "Make an API key; its text is in this answer only",
		Tag: tag, Scope: tenant.ScopeAdmin, Status: http.StatusCreated},
		func(ctx context.Context, in *createKeyIn) (*keyOut, error) {
			scopes, err := tenant.ParseScopes(in.Body.Scopes)
			if err != nil {
				return nil, err
			}
			key, text, err := keys.Create(ctx, in.Body.Name, scopes, in.Body.ExpiresAt)
			if err != nil {
				return nil, err
			}
			return &keyOut{Body: newKeyView(key, text)}, nil
		})
	Register(api, Operation{Method: http.MethodDelete, Path: "/api/v1/keys/{prefix}", ID: "revoke-key", Summary: "Revoke an API key", Tag: tag,
		Scope: tenant.ScopeAdmin, Status: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			Prefix string `path:"prefix" doc:"The part of the key between the underscores"`
		}) (*struct{}, error) {
			return nil, keys.Revoke(ctx, in.Prefix)
		})
}
