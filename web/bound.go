package web

import (
	"reflect"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Callers that are bound to a tenant, a product or a branch are refused by every operation that does not say by which parameter a call
// is confined to one: so is a new operation, until somebody has thought about it.

// bounds are where the input of an operation names a tenant and a product; nil where it names none.
type bounds struct {
	op              Operation
	tenant, product []int // indexes of fields, as of reflect.Value.FieldByIndex
}

// newBounds finds the parameters that op names. In has a field for each, or op is wrong.
func newBounds[In any](op Operation) bounds {
	find := func(parameter string) []int {
		if parameter == "" {
			return nil
		}
		for _, f := range reflect.VisibleFields(reflect.TypeFor[In]()) {
			if f.Type.Kind() == reflect.String && (f.Tag.Get("path") == parameter || f.Tag.Get("query") == parameter) {
				return f.Index
			}
		}
		panic("BUG: operation " + op.ID + " has no parameter " + parameter)
	}
	return bounds{op: op, tenant: find(op.TenantParameter), product: find(op.ProductParameter)}
}

// open reports why no call of the operation by the caller is within what it is bound to.
func (b *bounds) open(who tenant.Identity) error {
	if who.Tenant != tenant.Untagged && b.tenant == nil || who.Product != "" && b.product == nil || who.Branch != nil && !b.op.KeepsToBranch {
		return who.Check(b.op.Permission)
	}
	return nil
}

// check reports why this call is not within what the caller is bound to. What another tenant has is not found, whether it
// is there or not.
func (b *bounds) check(who tenant.Identity, in any) error {
	if !who.Bound() {
		return nil
	}
	v := reflect.ValueOf(in).Elem()
	within := func(bound string, index []int, parameter, what string) error {
		if bound == "" {
			return nil
		}
		switch named := v.FieldByIndex(index).String(); named {
		case bound:
			return nil
		case "":
			return fault.New(fault.Forbidden, "%s is bound to the %s %q: give %s=%s", who, what, bound, parameter, bound)
		default:
			return &fault.Error{Kind: fault.NotFound, Field: parameter, Value: named, Message: "not found"}
		}
	}
	if err := within(string(who.Tenant), b.tenant, b.op.TenantParameter, "tenant"); err != nil {
		return err
	}
	if err := within(who.Product, b.product, b.op.ProductParameter, "product"); err != nil {
		return err
	}
	return b.checkBranch(who.Branch, v)
}

// checkBranch reports why this call names what is not in the branch; a call that names nothing is the handler's to confine.
func (b *bounds) checkBranch(branch *tenant.Branch, in reflect.Value) error {
	if branch == nil {
		return nil
	}
	within := func(index []int, parameter string, has func(string) bool) error {
		if index == nil {
			return nil
		}
		if named := in.FieldByIndex(index).String(); named != "" && !has(named) {
			return &fault.Error{Kind: fault.NotFound, Field: parameter, Value: named, Message: "not found"}
		}
		return nil
	}
	if err := within(b.tenant, b.op.TenantParameter, func(s string) bool { return branch.HasTenant(tenant.ID(s)) }); err != nil {
		return err
	}
	return within(b.product, b.op.ProductParameter, branch.HasProduct)
}

// document says in the operation's description who is let in.
func (b *bounds) document() string {
	switch {
	case b.tenant != nil && b.product != nil:
		return b.op.Doc + "\n\nA key that is bound to a tenant or a product must name it."
	case b.tenant != nil:
		return b.op.Doc + "\n\nA key that is bound to a tenant must name it; one that is bound to a product is refused."
	case b.product != nil:
		return b.op.Doc + "\n\nA key that is bound to a product must name it; one that is bound to a tenant is refused."
	}
	return b.op.Doc
}
