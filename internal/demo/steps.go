package demo

import "time"

// step is a Step under construction, with how it fails.
type step struct {
	Step
	failure Failure
}

func (s step) chance(c float64) step { s.Chance = c; return s }

func (s step) times(n int) step { s.Times = n; return s }

func (s step) spread(sigma float64) step { s.Spread = sigma; return s }

// fails says what the route answers when this step fails, and with which exception.
func (s step) fails(status uint16, kind, message string) step {
	s.failure = Failure{Status: status, Type: kind, Message: message}
	return s
}

// sql is a statement to one of the instances.
func sql(s *Service, instances []*Instance, verb, table string, median time.Duration) step {
	return toInstances(s, instances, median, .35, func(i *Instance) *Operation {
		summary := verb + " " + table
		return &Operation{Service: s, Kind: Client, Name: summary, Instance: i, Attrs: []Attr{
			{Key: "db.system.name", Text: i.System}, {Key: "db.namespace", Text: i.Space},
			{Key: "db.operation.name", Text: verb}, {Key: "db.collection.name", Text: table},
			{Key: "db.query.summary", Text: summary},
			{Key: "server.address", Text: i.Address}, {Key: "server.port", Number: i.Port},
		}}
	})
}

// redis is a command to one of the caches.
func redis(s *Service, instances []*Instance, command string, median time.Duration) step {
	return toInstances(s, instances, median, .4, func(i *Instance) *Operation {
		return &Operation{Service: s, Kind: Client, Name: command, Instance: i, Attrs: []Attr{
			{Key: "db.system.name", Text: i.System}, {Key: "db.namespace", Text: "0"},
			{Key: "db.operation.name", Text: command},
			{Key: "server.address", Text: i.Address}, {Key: "server.port", Number: i.Port},
		}}
	})
}

// send puts a message into the queue that the consumer reads; wait is the median time that it lies there.
func send(s *Service, instances []*Instance, consumer *Route, wait time.Duration) step {
	st := toInstances(s, instances, wait, .5, func(i *Instance) *Operation {
		return &Operation{Service: s, Kind: Producer, Name: "send " + consumer.Path, Instance: i, Attrs: []Attr{
			{Key: "messaging.system", Text: i.System}, {Key: "messaging.operation.type", Text: "send"},
			{Key: "messaging.operation.name", Text: "send"}, {Key: "messaging.destination.name", Text: consumer.Path},
			{Key: "server.address", Text: i.Address}, {Key: "server.port", Number: i.Port},
		}}
	})
	st.Calls, st.Async = consumer, true
	return st
}

// call is an HTTP request to somebody else's server.
func call(s *Service, host string, median time.Duration, spread float64) step {
	op := newOperation(&Operation{Service: s, Kind: Client, Name: "POST", HTTP: true, Attrs: []Attr{
		{Key: "http.request.method", Text: "POST"}, {Key: "url.scheme", Text: "https"},
		{Key: "server.address", Text: host}, {Key: "server.port", Number: 443},
	}})
	return step{Step: Step{Ops: []*Operation{op}, Median: median, Spread: spread}}
}

// remote is a call of another service of ours, over HTTP or gRPC as the route is.
func remote(s *Service, r *Route, host string) step {
	op := &Operation{Service: s, Kind: Client, HTTP: r.Entry.HTTP, RPC: r.Entry.RPC}
	if r.Entry.RPC {
		op.Name, op.Attrs = r.Entry.Name, append(op.Attrs, r.Entry.Attrs...)
	} else {
		op.Name, op.Attrs = r.Entry.Attrs[0].Text, []Attr{r.Entry.Attrs[0], {Key: "url.scheme", Text: "http"}}
	}
	op.Attrs = append(op.Attrs, Attr{Key: "server.address", Text: host}, Attr{Key: "server.port", Number: 8080})
	return step{Step: Step{Ops: []*Operation{newOperation(op)}, Calls: r}}
}

func toInstances(s *Service, instances []*Instance, median time.Duration, spread float64, f func(*Instance) *Operation) step {
	st := step{Step: Step{Median: median, Spread: spread}}
	for _, i := range instances {
		st.Ops = append(st.Ops, newOperation(f(i)))
	}
	return st
}
