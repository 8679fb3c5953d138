// Package tenant owns who a tenant is and what it may: the id type, plans, API keys and their scopes.
//
// Every query over tenant data takes an ID as an explicit parameter right after ctx, or says in its name that it
// crosses tenants. Features import this package; it imports no feature.
package tenant

import (
	"unicode"
	"unicode/utf8"

	"github.com/nexis-limited/headroom/fault"
)

// ID names a customer organization of the operator, as its telemetry does. The empty ID stands for requests that
// named none; people see it as "untagged".
type ID string

// Untagged is the ID of requests that named no tenant.
const Untagged ID = ""

// MaxIDLen is the longest tenant id, in bytes.
const MaxIDLen = 128

// ParseID checks s: at most MaxIDLen bytes of valid UTF-8 without control characters. The empty string is Untagged.
// The error names the field tenant.id and the value.
func ParseID(s string) (ID, error) {
	if len(s) > MaxIDLen {
		return "", fault.InvalidField("tenant.id", s, "is longer than %d bytes", MaxIDLen)
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return "", fault.InvalidField("tenant.id", s, "is not valid UTF-8")
			}
		}
		if unicode.IsControl(r) {
			return "", fault.InvalidField("tenant.id", s, "has a control character at byte %d", i)
		}
	}
	return ID(s), nil
}
