package demo

import (
	"strings"
	"time"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

const (
	ms   = time.Millisecond
	hour = time.Hour
)

// CompanyName is what the simulated company calls itself, for its status page.
const CompanyName = "Quillstone"

// NewCompany returns Quillstone, a made-up company that sells a shop system with what belongs to it.
func NewCompany() *Company {
	b := &builder{company: &Company{Name: CompanyName}}
	pg := func(addresses ...string) []*Instance {
		return b.instances("postgresql", 5432, addresses...)
	}
	shops := pg("pg-commerce-1", "pg-commerce-2", "pg-commerce-3")
	ledger := pg("pg-billing-1", "pg-billing-2")
	facts := pg("pg-analytics-1", "pg-analytics-2")
	letters := pg("pg-messaging-1")
	carts := b.instances("redis", 6379, "redis-commerce-1", "redis-commerce-2")
	threads := b.instances("redis", 6379, "redis-messaging-1")
	queue := b.instances("rabbitmq", 5672, "rabbit-1")

	commerce := b.product("commerce", "Commerce", 9_800, 9_900, 9_950)
	storefront := b.service(commerce, "storefront", "nodejs", 4, release{2, 96, 9 * hour, 2 * hour})
	checkout := b.service(commerce, "checkout", "java", 3, release{2, 108, 31 * hour, 5 * hour})
	catalog := b.service(commerce, "catalog", "go", 2, release{3, 2, 26 * hour, 11 * hour})
	billing := b.product("billing", "Billing", 9_900, 9_950, 9_980)
	invoices := b.service(billing, "invoices", "java", 2, release{5, 27, 40 * hour, 7 * hour})
	payments := b.service(billing, "payments", "java", 3, release{1, 212, 52 * hour, 20 * hour})
	analytics := b.product("analytics", "Analytics", 9_800, 9_900, 9_950)
	reports := b.service(analytics, "reports", "python", 2, release{0, 61, 22 * hour, 3 * hour})
	events := b.service(analytics, "events", "go", 3, release{1, 38, 60 * hour, 17 * hour})
	messaging := b.product("messaging", "Messaging", 9_800, 9_900, 9_950)
	inbox := b.service(messaging, "inbox", "nodejs", 2, release{4, 55, 18 * hour, 9 * hour})
	delivery := b.service(messaging, "delivery", "go", 3, release{1, 19, 44 * hour, 13 * hour})

	// What the other services call comes before what calls it.
	quote := b.rpc(catalog, "quillstone.catalog.Pricing", "Quote", 3*ms, .35,
		redis(catalog, carts, "MGET", 600*time.Microsecond))
	b.route(payments, "POST /charges", 3, 14*ms, .4,
		call(payments, "psp.example.net", 84*ms, .38).fails(502, "HttpTimeoutException", "payment provider did not answer within 3 s"),
		sql(payments, ledger, "INSERT", "charges", 6*ms).fails(503, "PSQLException", "could not serialize access due to concurrent update"))
	charge := b.last
	orders := b.consumer(events, "orders", 5*ms, .4,
		sql(events, facts, "INSERT", "order_facts", 4*ms).fails(0, "pq.Error", "deadlock detected"))
	hooks := b.consumer(delivery, "hooks-out", 6*ms, .4,
		call(delivery, "hooks.customer.example", 160*ms, .7).fails(0, "net.OpError", "dial tcp: i/o timeout"),
		sql(delivery, letters, "UPDATE", "deliveries", 3*ms))
	mails := b.consumer(delivery, "mail-out", 9*ms, .4,
		call(delivery, "smtp.example.net", 120*ms, .5).fails(0, "textproto.Error", "451 4.3.0 temporary failure, try again later"))

	b.route(storefront, "GET /", 17, 9*ms, .4, redis(storefront, carts, "GET", 700*time.Microsecond))
	b.route(storefront, "GET /products/{id}", 22, 12*ms, .45,
		redis(storefront, carts, "GET", 700*time.Microsecond),
		sql(storefront, shops, "SELECT", "products", 4*ms).chance(.35).fails(500, "QueryFailedError", "canceling statement due to statement timeout")).refuses(404, .012)
	b.route(storefront, "GET /search", 8, 11*ms, .5,
		sql(storefront, shops, "SELECT", "product_search", 26*ms).spread(.6).fails(503, "QueryFailedError", "remaining connection slots are reserved"))
	b.route(storefront, "POST /cart/items", 7, 7*ms, .4,
		redis(storefront, carts, "HSET", 900*time.Microsecond).fails(500, "ReplyError", "OOM command not allowed when used memory > 'maxmemory'")).refuses(422, .02)
	b.route(checkout, "POST /checkout", 30, 24*ms, .38,
		redis(checkout, carts, "HGETALL", 900*time.Microsecond),
		remote(checkout, quote, "catalog"),
		sql(checkout, shops, "INSERT", "orders", 8*ms).fails(503, "SQLTransientConnectionException", "checkout-pool: connection is not available, request timed out after 2000 ms"),
		remote(checkout, charge, "payments").chance(.5).fails(502, "HttpTimeoutException", "payments did not answer within 5 s"),
		send(checkout, queue, orders, 90*ms).chance(.4),
	).refuses(409, .008)
	b.route(checkout, "GET /checkout/{id}", 7, 8*ms, .4,
		sql(checkout, shops, "SELECT", "orders", 4*ms).fails(500, "SQLException", "an I/O error occurred while sending to the backend")).refuses(404, .01)
	b.route(catalog, "GET /catalog/items", 5, 6*ms, .4,
		sql(catalog, shops, "SELECT", "products", 14*ms).spread(.5).fails(500, "pgconn.PgError", "canceling statement due to statement timeout"))
	b.last.Untagged = .005
	b.route(catalog, "PUT /catalog/items/{id}", 3, 6*ms, .4,
		sql(catalog, shops, "UPDATE", "products", 7*ms).fails(500, "pgconn.PgError", "deadlock detected")).refuses(412, .02)
	b.route(catalog, "POST /catalog/import", 1, 70*ms, .5,
		sql(catalog, shops, "INSERT", "product_prices", 34*ms).times(4).spread(.5).fails(504, "context.deadlineExceededError", "context deadline exceeded"))

	b.route(invoices, "GET /invoices", 20, 12*ms, .4,
		sql(invoices, ledger, "SELECT", "invoices", 16*ms).spread(.5).fails(500, "SQLTimeoutException", "statement cancelled after 5 s"))
	b.route(invoices, "GET /invoices/{id}", 26, 9*ms, .4,
		sql(invoices, ledger, "SELECT", "invoices", 5*ms),
		sql(invoices, ledger, "SELECT", "invoice_lines", 7*ms).fails(500, "SQLException", "an I/O error occurred while sending to the backend")).refuses(404, .01)
	b.route(invoices, "POST /invoices", 12, 18*ms, .4,
		sql(invoices, ledger, "INSERT", "invoices", 11*ms).fails(503, "SQLTransientConnectionException", "ledger-pool: connection is not available")).refuses(422, .025)
	b.route(invoices, "GET /invoices/{id}/pdf", 8, 240*ms, .45,
		sql(invoices, ledger, "SELECT", "invoice_lines", 8*ms).fails(500, "RenderException", "font metrics missing for glyph U+0E3F"))
	b.route(payments, "POST /refunds", 3, 16*ms, .4,
		call(payments, "psp.example.net", 96*ms, .4).fails(502, "HttpTimeoutException", "payment provider did not answer within 3 s")).refuses(409, .03)
	b.route(payments, "GET /payouts", 9, 10*ms, .4,
		sql(payments, ledger, "SELECT", "payouts", 13*ms).spread(.5).fails(500, "SQLTimeoutException", "statement cancelled after 5 s"))

	b.route(events, "POST /events", 46, 3*ms, .4,
		sql(events, facts, "INSERT", "events", 3*ms).fails(503, "pgconn.ConnectError", "too many clients already")).refuses(400, .004)
	b.route(reports, "GET /dashboards/{id}", 26, 22*ms, .4,
		sql(reports, facts, "SELECT", "daily_facts", 28*ms).spread(.6).fails(500, "psycopg.OperationalError", "server closed the connection unexpectedly"))
	b.route(reports, "GET /reports/{id}", 16, 30*ms, .4,
		sql(reports, facts, "SELECT", "report_cells", 62*ms).spread(.7).fails(504, "psycopg.errors.QueryCanceled", "canceling statement due to statement timeout"))
	b.route(reports, "POST /reports/{id}/export", 3, 320*ms, .5,
		sql(reports, facts, "SELECT", "report_cells", 210*ms).spread(.7).fails(500, "MemoryError", "cannot allocate 512 MiB for a sheet")).refuses(422, .02)
	b.route(reports, "GET /funnels/{id}", 9, 26*ms, .4,
		sql(reports, facts, "SELECT", "funnel_steps", 88*ms).spread(.6).fails(504, "psycopg.errors.QueryCanceled", "canceling statement due to statement timeout"))

	b.route(inbox, "GET /conversations", 30, 9*ms, .4,
		redis(inbox, threads, "ZREVRANGE", 900*time.Microsecond),
		sql(inbox, letters, "SELECT", "conversations", 9*ms).chance(.4).fails(500, "QueryFailedError", "canceling statement due to statement timeout"))
	b.route(inbox, "GET /conversations/{id}", 32, 8*ms, .4,
		sql(inbox, letters, "SELECT", "messages", 7*ms).fails(500, "QueryFailedError", "Connection terminated unexpectedly")).refuses(404, .008)
	b.route(inbox, "POST /conversations/{id}/messages", 16, 11*ms, .4,
		sql(inbox, letters, "INSERT", "messages", 6*ms).fails(503, "QueryFailedError", "remaining connection slots are reserved"),
		send(inbox, queue, mails, 140*ms)).refuses(422, .01)
	b.route(delivery, "POST /webhooks/test", 4, 6*ms, .4,
		send(delivery, queue, hooks, 60*ms).fails(503, "amqp.Error", "channel closed by server")).refuses(422, .03)
	b.route(delivery, "GET /deliveries", 8, 7*ms, .4,
		sql(delivery, letters, "SELECT", "deliveries", 12*ms).spread(.5).fails(500, "pgconn.PgError", "canceling statement due to statement timeout"))

	b.company.Tenants = newTenants(b.company.Products)
	b.company.Nobody = &Tenant{Plan: tenant.Starter, Size: 1}
	return b.company
}

// builder puts a Company together.
type builder struct {
	company  *Company
	services int
	last     *Route
}

func (b *builder) instances(system string, port int64, addresses ...string) []*Instance {
	var list []*Instance
	for _, a := range addresses {
		space, _, _ := strings.Cut(a[strings.Index(a, "-")+1:], "-")
		list = append(list, &Instance{System: system, Address: a, Port: port, Space: space, Index: len(b.company.Instances)})
		b.company.Instances = append(b.company.Instances, list[len(list)-1])
	}
	return list
}

// product adds a product; the targets of its availability are in hundredths of a percent.
func (b *builder) product(name, title string, starter, professional, enterprise slo.PPM) *Product {
	p := &Product{Name: name, Title: title, Index: len(b.company.Products), Targets: map[tenant.Plan]slo.PPM{
		tenant.Starter: starter * 100, tenant.Professional: professional * 100, tenant.Enterprise: enterprise * 100,
	}}
	b.company.Products = append(b.company.Products, p)
	return p
}

func (b *builder) service(p *Product, name, runtime string, pods int, r release) *Service {
	s := &Service{Name: name, Product: p, Index: b.services, Runtime: runtime, Pods: pods, release: r}
	b.services++
	p.Services = append(p.Services, s)
	return s
}

func (b *builder) route(s *Service, name string, weight float64, own time.Duration, spread float64, steps ...step) *Route {
	method, path, _ := strings.Cut(name, " ")
	entry := newOperation(&Operation{Service: s, Kind: Server, Name: name, HTTP: true, Attrs: []Attr{
		{Key: "http.request.method", Text: method}, {Key: "http.route", Text: path}, {Key: "url.scheme", Text: "https"},
		{Key: "server.address", Text: s.Name + ".quillstone.example"},
	}})
	r := b.finish(&Route{Entry: entry, Path: path, Weight: weight, Own: own, Spread: spread}, steps)
	s.Product.Routes = append(s.Product.Routes, r)
	s.Product.weight += weight
	return r
}

func (b *builder) rpc(s *Service, service, method string, own time.Duration, spread float64, steps ...step) *Route {
	entry := newOperation(&Operation{Service: s, Kind: Server, Name: service + "/" + method, RPC: true, Attrs: []Attr{
		{Key: "rpc.system", Text: "grpc"}, {Key: "rpc.service", Text: service}, {Key: "rpc.method", Text: method},
	}})
	return b.finish(&Route{Entry: entry, Path: method, Own: own, Spread: spread}, steps)
}

func (b *builder) consumer(s *Service, queue string, own time.Duration, spread float64, steps ...step) *Route {
	entry := newOperation(&Operation{Service: s, Kind: Consumer, Name: "process " + queue, Attrs: []Attr{
		{Key: "messaging.system", Text: "rabbitmq"}, {Key: "messaging.operation.type", Text: "process"},
		{Key: "messaging.operation.name", Text: "process"}, {Key: "messaging.destination.name", Text: queue},
	}})
	return b.finish(&Route{Entry: entry, Path: queue, Own: own, Spread: spread}, steps)
}

func (b *builder) finish(r *Route, steps []step) *Route {
	for i, s := range steps {
		r.Steps = append(r.Steps, s.Step)
		if s.failure.Type != "" {
			s.failure.Step = i
			r.Failures = append(r.Failures, s.failure)
		}
	}
	b.last = r
	return r
}

// refuses says how often the caller is at fault, and what it is told.
func (r *Route) refuses(status uint16, chance float64) *Route {
	r.Refusals = Refusal{Status: status, Chance: chance}
	return r
}

func newOperation(o *Operation) *Operation {
	for _, a := range o.Attrs {
		o.attrs = appendAttr(o.attrs, spanAttributes, a)
	}
	return o
}
