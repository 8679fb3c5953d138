package demo

import (
	"math"
	"strings"

	"github.com/nexis-limited/headroom/tenant"
)

// The kinds of customer: how a tenant's requests spread over commerce, billing, analytics and messaging.
var (
	shop    = []float64{.82, .06, .07, .05}
	service = []float64{.30, .34, .14, .22}
	office  = []float64{.08, .42, .30, .20}
	talker  = []float64{.14, .12, .14, .60}
	watcher = []float64{.20, .10, .58, .12}
)

// customers are the tenants by size, the largest first. The names are made up.
var customers = []struct {
	name string
	plan tenant.Plan
	mix  []float64
}{
	{"Thornbury Grocers", tenant.Enterprise, shop},
	{"Skylark Tickets", tenant.Enterprise, shop},
	{"Harbour & Pine", tenant.Enterprise, shop},
	{"Calder Electronics", tenant.Enterprise, shop},
	{"Westering Travel", tenant.Enterprise, service},
	{"Opal Street Fashion", tenant.Enterprise, shop},
	{"Northgate Telecom", tenant.Enterprise, talker},
	{"Millrace Outdoor", tenant.Enterprise, shop},
	{"Copperleaf Books", tenant.Professional, shop},
	{"Fennel Kitchenware", tenant.Professional, shop},
	{"Beacon Hill Clinics", tenant.Professional, talker},
	{"Tern Island Seafood", tenant.Professional, shop},
	{"Quarry Tools", tenant.Professional, shop},
	{"Seabright Optics", tenant.Professional, service},
	{"Larchmont Insurance", tenant.Professional, office},
	{"Barley Row Brewing", tenant.Professional, shop},
	{"Velvet Moon Bedding", tenant.Professional, shop},
	{"Signal Yard Media", tenant.Professional, watcher},
	{"Pinewood Pet Care", tenant.Professional, shop},
	{"Rookery Press", tenant.Professional, service},
	{"Drift & Anchor", tenant.Professional, shop},
	{"Hazel Garden Supply", tenant.Professional, shop},
	{"Stonebridge Schools", tenant.Starter, office},
	{"Saffron Lane", tenant.Starter, shop},
	{"Underhill Cycles", tenant.Starter, shop},
	{"Lowland Freight", tenant.Starter, watcher},
	{"Marigold Bakery", tenant.Starter, shop},
	{"Peregrine Couriers", tenant.Starter, talker},
	{"Wickfield Pottery", tenant.Starter, shop},
	{"Glasshouse Yoga", tenant.Starter, service},
	{"Orrery Clocks", tenant.Starter, shop},
	{"Tidewell Plumbing", tenant.Starter, office},
	{"Foxglove Florists", tenant.Starter, shop},
	{"Cinder Ridge Climbing", tenant.Starter, service},
	{"Brindle Coffee", tenant.Starter, shop},
	{"Sparrow Lane Nursery", tenant.Starter, office},
	{"Kestrel Drones", tenant.Starter, watcher},
	{"Moorland Cheese", tenant.Starter, shop},
	{"Paper Lantern Events", tenant.Starter, service},
	{"Bramble & Oat", tenant.Starter, shop},
}

// cells is how many groups the tenants fall into; a product with several databases gives each group one of them.
const cells = 3

// Everyday errors use up between these shares of a tenant's error budget.
const (
	spendsLeast = .06
	spendsMost  = .50
)

// trickles are errors that never stop, for tickets rather than pages: share of the budget used up, by tenant and product.
var trickles = map[string]map[string]float64{
	"Larchmont Insurance": {"billing": 2.1},
	"Copperleaf Books":    {"commerce": .6},
	"Lowland Freight":     {"analytics": .78},
}

func newTenants(products []*Product) []*Tenant {
	var sum float64
	for i := range customers {
		sum += zipf(i)
	}
	tenants := make([]*Tenant, 0, len(customers))
	for i, c := range customers {
		t := &Tenant{
			ID: tenant.ID(slug(c.name)), Name: c.name, Plan: c.plan, Index: i, Cell: cellOf(i),
			Share: zipf(i) / sum, Mix: c.mix, Size: math.Exp(.22 * scatter(i, 1)),
		}
		for j, p := range products {
			spends := spendsLeast + (spendsMost-spendsLeast)*(.5+.5*scatter(i, 2+j))
			if s, ok := trickles[c.name][p.Name]; ok {
				spends = s
			}
			t.Spends = append(t.Spends, spends)
		}
		t.attr = appendAttr(nil, spanAttributes, Attr{Key: "tenant.id", Text: string(t.ID)})
		tenants = append(tenants, t)
	}
	return tenants
}

// zipf is the weight of the tenant of that rank: the second has half of the first's requests, the third a third.
func zipf(rank int) float64 { return 1 / float64(rank+1) }

// cellOf keeps the two largest apart from the third, so that one cell's trouble spares somebody large.
func cellOf(rank int) int { return []int{0, 1, 0, 2, 1, 2}[rank%6] }

// scatter returns a fixed number from -1 to 1 for a tenant and a purpose.
func scatter(i, purpose int) float64 {
	return float64(mix(uint64(i)<<8|uint64(purpose))>>11)/(1<<52) - 1
}

// mix is the finalizer of SplitMix64: it makes neighbouring numbers unlike each other.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r < 'a' || r > 'z' })
	return strings.Join(words, "-")
}
