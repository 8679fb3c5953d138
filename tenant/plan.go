package tenant

import "github.com/nexis-limited/headroom/fault"

// Plan is what a tenant bought. It sets targets, quotas, retention and gates.
type Plan string

// The plans. A tenant that nobody gave a plan has the targets of Starter, and a quota of its own: Quotas.Unregistered.
const (
	Starter      Plan = "starter"
	Professional Plan = "professional"
	Enterprise   Plan = "enterprise"
)

// Plans lists all plans from the smallest to the largest.
func Plans() []Plan { return []Plan{Starter, Professional, Enterprise} }

// ParsePlan returns the plan named s.
func ParsePlan(s string) (Plan, error) {
	for _, p := range Plans() {
		if string(p) == s {
			return p, nil
		}
	}
	return "", fault.InvalidField("plan", s, "must be one of starter, professional, enterprise")
}
