package dashboards

import (
	"net/http"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// routes are the console's pages. Each is added by one of three names, which say who may see it: there is no other way.
type routes struct {
	c        *Console
	mux      *http.ServeMux
	patterns []string
	needs    map[string]tenant.Permission // by pattern; the public ones are not there
}

// page adds one for the operator's people and keys that have the permission and are bound to nothing.
func (p *routes) page(may tenant.Permission, pattern string, h web.HandlerFunc) {
	p.declare(may, pattern, p.c.signedIn(may, h))
}

// tenantPage adds one about a tenant, which the tenant's own people see too if they have the permission.
func (p *routes) tenantPage(may tenant.Permission, pattern string, h web.HandlerFunc) {
	p.declare(may, pattern, p.c.ofTenant(may, h))
}

// public adds one that needs no permission: it is for everybody, or for each about themselves only.
func (p *routes) public(pattern string, h web.HandlerFunc) {
	p.patterns = append(p.patterns, pattern)
	p.mux.Handle(pattern, web.Handler(p.c.log, p.c.errorPage, h))
}

func (p *routes) declare(may tenant.Permission, pattern string, h web.HandlerFunc) {
	if !may.Exists() {
		panic("BUG: the page " + pattern + " names no permission that there is, but " + may.String())
	}
	p.needs[pattern] = may
	p.patterns = append(p.patterns, pattern)
	p.mux.Handle(pattern, web.Handler(p.c.log, p.c.errorPage, h))
}
