package demo

import (
	"math"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

func TestCompanyIsFourProductsAndFortyTenants(t *testing.T) {
	c := NewCompany()
	if len(c.Products) != 4 || len(c.Tenants) != 40 {
		t.Fatalf("got %d products and %d tenants, want 4 and 40", len(c.Products), len(c.Tenants))
	}
	for _, p := range c.Products {
		if n := len(p.Services); n < 2 || n > 3 {
			t.Errorf("%s has %d services, want 2 or 3", p.Name, n)
		}
		if n := len(p.Routes); n < 5 || n > 10 {
			t.Errorf("%s has %d routes, want 5 to 10", p.Name, n)
		}
		if p.Targets[tenant.Starter] >= p.Targets[tenant.Professional] || p.Targets[tenant.Professional] >= p.Targets[tenant.Enterprise] {
			t.Errorf("%s promises %v: a larger plan must promise more", p.Name, p.Targets)
		}
	}
	kinds := map[string]int{}
	for _, i := range c.Instances {
		kinds[i.System]++
	}
	for _, system := range []string{"postgresql", "redis", "rabbitmq"} {
		if kinds[system] == 0 {
			t.Errorf("there is no %s", system)
		}
	}
}

func TestTenantsAreUnlike(t *testing.T) {
	c := NewCompany()
	ids, plans, cellsUsed := map[tenant.ID]bool{}, map[tenant.Plan]int{}, map[int]int{}
	var sum float64
	for i, x := range c.Tenants {
		if _, err := tenant.ParseID(string(x.ID)); err != nil || ids[x.ID] {
			t.Errorf("tenant id %q: taken %v, error %v", x.ID, ids[x.ID], err)
		}
		ids[x.ID] = true
		plans[x.Plan]++
		cellsUsed[x.Cell]++
		sum += x.Share
		if i > 0 && x.Share > c.Tenants[i-1].Share {
			t.Errorf("%s is larger than the one before it", x.Name)
		}
		var mixed float64
		for _, m := range x.Mix {
			mixed += m
		}
		if math.Abs(mixed-1) > 1e-9 {
			t.Errorf("the requests of %s spread over %v, which sums to %v", x.Name, x.Mix, mixed)
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("shares sum to %v, want 1", sum)
	}
	if len(plans) != 3 || len(cellsUsed) != cells {
		t.Errorf("got plans %v and cells %v", plans, cellsUsed)
	}
	if ratio := c.Tenants[0].Share / c.Tenants[39].Share; ratio < 20 {
		t.Errorf("the largest tenant has %.1f times the traffic of the smallest: too equal", ratio)
	}
}

func TestSlug(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := slug(in); got != want {
			t.Errorf("slug(%q) = %q, want %q", in, got, want)
		}
	}
	f("Harbour & Pine", "harbour-pine")
	f("Opal Street Fashion", "opal-street-fashion")
}

func TestVersionsMoveWithDeploys(t *testing.T) {
	s := NewCompany().Route("checkout POST /checkout").Entry.Service
	now := time.Date(2026, 11, 24, 9, 52, 0, 0, time.UTC)
	if got, want := s.NextVersion(now), s.Version(now.Add(s.release.every)); got != want {
		t.Errorf("the next version is %s, and after the next deploy it is %s", got, want)
	}
	if s.Version(now) == s.NextVersion(now) {
		t.Errorf("a deploy does not change version %s", s.Version(now))
	}
}

func TestBusy(t *testing.T) {
	f := func(at time.Duration, want float64) {
		t.Helper()
		if got := Busy(at); math.Abs(got-want) > 1e-9 {
			t.Errorf("Busy(%s) = %v, want %v", at, got, want)
		}
	}
	f(11*time.Hour, 1)
	f(35*time.Hour, 1)
	f(-13*time.Hour, 1)
	f(90*time.Minute, (day[1]+day[2])/2)
	f(23*time.Hour+30*time.Minute, (day[23]+day[0])/2)
}

// The promises in the model make everyday errors; those in the files are what the errors are held against.
func TestSLOsPromiseWhatTheModelDoes(t *testing.T) {
	defs := parsedSLOs(t)
	c := NewCompany()
	available := map[string]bool{}
	for _, d := range defs {
		if d.Kind != slo.Availability {
			continue
		}
		for _, p := range c.Products {
			if p.Name != d.Selector.Product {
				continue
			}
			available[p.Name] = true
			for plan, want := range p.Targets {
				if got := d.TargetFor("", plan); got != want {
					t.Errorf("%s: %s has target %v in the file, %v in the model", d.Name, plan, got, want)
				}
			}
		}
	}
	if len(available) != len(c.Products) {
		t.Errorf("products with an availability SLO: %v", available)
	}
}

func parsedSLOs(t *testing.T) []slo.Definition {
	t.Helper()
	doc, err := sloDocument()
	if err != nil {
		t.Fatal(err)
	}
	defs, err := slo.Parse("demo", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return defs
}
