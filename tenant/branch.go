package tenant

import "slices"

// Branch is a part of the operator that people can be confined to: a department, a region, a team. They see what is in all
// of its lists, of which an empty one holds everything: a branch of services and tenants is these services' requests of
// these tenants.
type Branch struct {
	ID       int64
	Name     string
	Products []string
	Services []string
	Tenants  []ID
}

// HasTenant reports whether the tenant is in the branch. Requests that named no tenant are in no branch that lists tenants.
func (b *Branch) HasTenant(id ID) bool { return len(b.Tenants) == 0 || slices.Contains(b.Tenants, id) }

// HasProduct reports whether the product is in the branch.
func (b *Branch) HasProduct(product string) bool {
	return len(b.Products) == 0 || slices.Contains(b.Products, product)
}

// HasService reports whether the service is in the branch.
func (b *Branch) HasService(service string) bool {
	return len(b.Services) == 0 || slices.Contains(b.Services, service)
}
