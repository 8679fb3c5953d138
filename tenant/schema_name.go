package tenant

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// maxIdentifier is the longest name that PostgreSQL keeps whole, in bytes.
const maxIdentifier = 63

// SchemaName returns the name of the schema of a tenant's own data: t_ and the id, in which all but lower-case letters and
// digits are _ and two hexadecimal digits. So no two ids share a name. One that gets too long is cut, and gets a hash
// after __, which the others cannot have: 120 bits, as good as unique, and a table of all names refuses a second.
func SchemaName(id ID) string {
	var b strings.Builder
	b.WriteString("t_")
	for i := range len(id) {
		if c := id[i]; 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	name := b.String()
	if len(name) <= maxIdentifier {
		return name
	}
	hash := sha256.Sum256([]byte(id))
	suffix := "__" + base32Lower.EncodeToString(hash[:15])
	return name[:maxIdentifier-len(suffix)] + suffix
}
