package tenant_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

var writePage = flag.Bool("write-permissions", false, "write docs/permissions.md from the table")

const permissionsPage = "../docs/permissions.md"

const permissionsHead = `# Who may do what

Written from the table in tenant/permission.go by ` + "`go test ./tenant -run TestPermissionsPage -write-permissions`" + `; do not edit.

People have one role in an organization: the operator's own, or a tenant's. Each role may do all that the lesser ones may: viewer, member,
manager, admin, owner. A tenant's people do what they may for their own tenant only, and do not learn of others. [API keys](keys.md) have
scopes in place of a role; ` + "`admin`" + ` gives all. The OpenAPI document names the permission of each operation as ` + "`x-permission`" + `.

The table has the least role, and for keys the scope. What is not in it nobody may do.

| | the operator's | a tenant's own | keys |
| --- | --- | --- | --- |
`

const permissionsFoot = `
Nobody gives a role above their own, and nobody makes or rotates a key that may do more than they may: only owners make owners and keys with
` + "`admin`" + `.

## Branches

People of the operator may be confined to a branch: a list each of products, services and tenants, under ` + "`/api/v1/branches`" + `. They see what is in
all three, of which an empty list holds everything; one list at least has something in it. What is outside is answered as what is not
there. Operations that do not keep to branches refuse them; ` + "`GET /tenants`" + ` and ` + "`GET /tenants/{tenant}/latency`" + ` do so far. The console's pages refuse
them too. A change of a branch holds from the next request on, and a branch cannot be deleted while somebody is confined to it.
`

// TestPermissionsPage: the page says what the table says.
func TestPermissionsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(permissionsHead)
	role := func(r tenant.Role, ok bool) string {
		if !ok {
			return "–"
		}
		return string(r)
	}
	for _, p := range tenant.Permissions() {
		_, _ = fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", p, role(p.Operator()), role(p.Tenant()), p.Scope())
	}
	b.WriteString(permissionsFoot)
	if *writePage {
		if err := os.WriteFile(permissionsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(permissionsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != b.String() {
		t.Error("docs/permissions.md is not what the table says: run go test ./tenant -run TestPermissionsPage -write-permissions")
	}
}
