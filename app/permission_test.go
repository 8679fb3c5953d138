package app

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/tenant"
)

// TestRoutesDeclareWhatTheyNeed walks the router that serves the console and the API: what is beside the operations, each of
// which must name a permission, is named here. The console's pages have a test of their own.
func TestRoutesDeclareWhatTheyNeed(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{first: true, second: true})
	router, ok := v.app.consoleHandler().(chi.Router)
	if !ok {
		t.Fatal("the console's handler is no chi router any more: look here how its routes can be walked")
	}
	public := []string{"/openapi.json", "/openapi.yaml", "/openapi-3.0.json", "/openapi-3.0.yaml"}
	walked := 0
	err := chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		walked++
		if slices.Contains(public, route) {
			return nil
		}
		// Somebody who is signed in and has no permission at all is let in nowhere, whatever is sent.
		want := http.StatusForbidden
		if route == "/api/v1/me" { // but where they are told who they are
			want = http.StatusOK
		}
		r := httptest.NewRequest(method, route, nil)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r.WithContext(tenant.WithIdentity(r.Context(), tenant.Identity{Name: "nobody"})))
		if w.Code != want {
			t.Errorf("%s %s answers somebody without any permission with %d, want %d: %.200s", method, route, w.Code, want, w.Body)
		}
		return nil
	})
	if err != nil || walked < 30 {
		t.Errorf("walked %d routes, %v", walked, err)
	}
}
