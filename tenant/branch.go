package tenant

import (
	"slices"
	"strings"
	"unicode"

	"github.com/nexis-limited/headroom/fault"
)

// Branch is a part of the operator that people can be confined to: a department, a region, a team. They see what is in all
// of its lists, of which an empty one holds everything: a branch of services and tenants is these services' requests of
// these tenants. One list at least is not empty.
type Branch struct {
	ID       int64    `json:"id"`
	Name     string   `json:"name"`
	Products []string `json:"products"`
	Services []string `json:"services"`
	Tenants  []ID     `json:"tenants"`
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

const (
	maxBranchName = 200 // bytes
	maxBranchList = 500 // names: they go into every query of those who are confined to it
)

// normalize checks the branch and sorts its lists. The error is a fault.List of all mistakes.
func (b *Branch) normalize() error {
	var wrong fault.List
	b.Name = strings.TrimSpace(b.Name)
	if b.Name == "" || len(b.Name) > maxBranchName || strings.ContainsFunc(b.Name, unicode.IsControl) || strings.Contains(b.Name, ":") {
		wrong = append(wrong, fault.InvalidField("name", b.Name, "must have 1 to %d bytes without colons and control characters", maxBranchName))
	}
	b.Products = normalizeNames(&wrong, "products", b.Products)
	b.Services = normalizeNames(&wrong, "services", b.Services)
	b.Tenants = normalizeNames(&wrong, "tenants", b.Tenants)
	if len(b.Products)+len(b.Services)+len(b.Tenants) == 0 {
		wrong = append(wrong, fault.InvalidField("tenants", "", "must not be empty where products and services are: such a branch would hold everything"))
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

func normalizeNames[S ~string](wrong *fault.List, field string, names []S) []S {
	list := slices.Clone(names)
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) > maxBranchList {
		*wrong = append(*wrong, fault.InvalidField(field, "", "has %d names, more than %d", len(list), maxBranchList))
	}
	for _, n := range list {
		if _, err := ParseID(string(n)); err != nil || n == "" { // products and services are names of the same kind
			*wrong = append(*wrong, fault.InvalidField(field, string(n), "must have names of 1 to %d bytes without control characters", MaxIDLen))
		}
	}
	if list == nil {
		list = []S{} // the column is not null
	}
	return list
}
