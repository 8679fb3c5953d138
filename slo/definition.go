package slo

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// PPM is a share in parts per million: 99.9 % is 999_000. Objectives are integers so that they print as they were
// written and compare exactly.
type PPM uint32

// One is the whole, 100 %.
const One PPM = 1_000_000

// Fraction returns the share as a number from 0 to 1.
func (p PPM) Fraction() float64 { return float64(p) / float64(One) }

// String returns the share as a percentage without trailing zeros, such as "99.95 %" (with a narrow space).
func (p PPM) String() string {
	s := fmt.Sprintf("%d.%04d", p/10_000, p%10_000)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".") + "\u202f%"
}

// MarshalText writes the share as a percentage number, such as "99.95".
func (p PPM) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(p)/10_000, 'f', -1, 64)), nil
}

// Kind says what makes a request good.
type Kind string

// The kinds of SLO.
const (
	Availability Kind = "availability" // good is a request that is no error
	Latency      Kind = "latency"      // good is a request that is no error and took at most Threshold
)

// Selector says which requests an SLO counts. Empty fields match everything; lists match any of their members.
type Selector struct {
	Product         string   `json:"product"`
	Service         string   `json:"service,omitempty"`
	Routes          []string `json:"routes,omitempty"`        // exact, or with * for any run of characters
	ExcludeRoutes   []string `json:"excludeRoutes,omitempty"` // wins over Routes
	Methods         []string `json:"methods,omitempty"`
	ExcludeStatuses []uint16 `json:"excludeStatuses,omitempty"` // HTTP statuses that do not count at all
}

// Definition is one SLO as it was applied. A change makes a new revision and never rewrites the past.
type Definition struct {
	Name            string              `json:"name"`  // unique; lower-case letters, digits, hyphens
	Title           string              `json:"title"` // for people; the name when none was given
	Description     string              `json:"description,omitempty"`
	Kind            Kind                `json:"kind"`
	Threshold       time.Duration       `json:"threshold,omitempty"` // Latency only
	Selector        Selector            `json:"selector"`
	Target          PPM                 `json:"target"`
	TargetsByPlan   map[tenant.Plan]PPM `json:"targetsByPlan,omitempty"`
	TargetsByTenant map[tenant.ID]PPM   `json:"targetsByTenant,omitempty"`
	Window          time.Duration       `json:"window"` // rolling; of a calendar window the nominal length, which burn-rate factors are for
	Calendar        *Calendar           `json:"calendar,omitempty"`
	Policy          Policy              `json:"policy"`
	Revision        uint32              `json:"revision"`
	SLIRevision     uint32              `json:"sliRevision"` // the revision that last changed what is counted: the counts' key
	AppliedAt       time.Time           `json:"appliedAt"`
}

// WindowWords returns the window as people say it: "30 days", "calendar month".
func (d *Definition) WindowWords() string {
	if d.Calendar != nil {
		return d.Calendar.String()
	}
	return theme.Duration(d.Window)
}

// TargetFor returns the tenant's target: its own, else its plan's, else the definition's.
func (d *Definition) TargetFor(t tenant.ID, plan tenant.Plan) PPM {
	if p, ok := d.TargetsByTenant[t]; ok {
		return p
	}
	if p, ok := d.TargetsByPlan[plan]; ok {
		return p
	}
	return d.Target
}

// Severity says who is told when a window pair burns.
type Severity string

// The severities: a page wakes somebody, a ticket waits for the morning.
const (
	Page   Severity = "page"
	Ticket Severity = "ticket"
)

// BurnWindow is one pair of windows of a multi-window burn-rate policy. It fires while both windows burn the budget at
// least Factor times as fast as would use it up exactly over the SLO's window (Google's SRE workbook, chapter 5).
type BurnWindow struct {
	Long     time.Duration `json:"long"`
	Short    time.Duration `json:"short"`
	Factor   float64       `json:"factor"`
	Severity Severity      `json:"severity"`
}

// Policy is when to tell somebody.
type Policy struct {
	Windows    []BurnWindow `json:"windows"`
	Confidence float64      `json:"confidence"` // of the one-sided lower bound in the long window; 0.99 by default, 0 asks for the plain rule
}
