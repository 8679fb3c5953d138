// Package demo simulates a SaaS company, so that headroom can be seen at work without one: its tenants, services,
// databases, caches and queues, a day of their past, and a morning's trouble that comes back.
//
// It speaks to headroom as everybody does: OTLP over HTTP with an ingest key, and the HTTP API with an admin's key. It
// never opens a database. What it says is a function of the seed and the time, so a second that is asked for twice is
// the same second. The company and all tenants are made up.
//
// model.go, catalog.go, steps.go and tenants.go say who takes part, traffic.go what happens in a second, trouble.go what
// goes wrong and when; these and encode.go do no I/O. push.go, history.go, live.go and setup.go are the client.
// Only app imports this package.
package demo
