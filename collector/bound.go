package collector

import (
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// What comes with an API key that is bound to a tenant or a product is that tenant's and that product's: what names
// none gets them, what names another is refused.

// tenantOf returns the tenant that a span or point names, or why it is refused. The id may alias text.
func (d *decoder) tenantOf(text []byte) (tenant.ID, error) {
	bound := d.from.Tenant
	if len(text) == 0 {
		if d.departed.refuses(bound) {
			return "", errDeleted(bound)
		}
		return bound, nil // Untagged when the key is not bound
	}
	id, err := tenant.ParseID(viewString(text))
	switch {
	case err != nil:
		return "", err
	case d.departed.refuses(id):
		return "", errDeleted(id)
	case bound == tenant.Untagged:
		return d.admitTenant(id), nil
	case id != bound:
		return "", fault.InvalidField("tenant.id", string(id), "must be %q, to which the API key is bound", bound)
	}
	return id, nil
}

// productOf returns the product of what names one, which may be empty.
func (d *decoder) productOf(named []byte) []byte {
	if len(named) == 0 {
		return viewBytes(d.from.Product)
	}
	return named
}

// foreign reports whether a product is another than the one that the key is bound to.
func (d *decoder) foreign(product []byte) bool {
	return d.from.Product != "" && string(product) != d.from.Product
}

func (d *decoder) rejectForeign(product []byte) {
	d.out.reject(badProduct, func() error {
		return fault.InvalidField("service.namespace", string(shorten(product)), "must be %q, to which the API key is bound", d.from.Product)
	})
}
