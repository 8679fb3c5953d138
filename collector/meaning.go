package collector

import "strconv"

// owner is the tenant that the attributes of a span or resource name.
type owner struct {
	value value // kind valueNone when they name none
	rank  int   // of the attribute that named it
}

// learn takes an attribute that names the tenant. names are in the order of their precedence; an empty value names none.
func (o *owner) learn(names []string, key []byte, v *value) {
	for rank, name := range names {
		if string(key) != name {
			continue
		}
		if empty := v.kind == valueNone || v.kind == valueString && len(v.data) == 0; !empty &&
			(o.value.kind == valueNone || rank <= o.rank) {
			*o = owner{*v, rank}
		}
		return
	}
}

// facts is what the well-known attributes of one span say. Byte slices alias the request body.
type facts struct {
	httpRoute  []byte
	httpMethod []byte
	httpStatus int64 // 0 when the span has none
	rpcService []byte
	rpcMethod  []byte
	grpcCode   int64 // -1 when the span has none

	dbSystem, dbNamespace       []byte
	messagingSystem, queue      []byte
	serverAddress               []byte
	serverPort                  int64
	peerAddress                 []byte // older name of serverAddress
	peerPort                    int64
	dbSystemOld, dbNamespaceOld []byte
}

// learn takes what an attribute of a span says. Names are those of OpenTelemetry's semantic conventions, the newer of
// two winning.
func (f *facts) learn(key []byte, v *value) {
	switch string(key) {
	case "http.route":
		f.httpRoute = v.str()
	case "http.request.method":
		f.httpMethod = v.str()
	case "http.method":
		if f.httpMethod == nil {
			f.httpMethod = v.str()
		}
	case "http.response.status_code":
		f.learnStatus(v)
	case "http.status_code":
		if f.httpStatus == 0 {
			f.learnStatus(v)
		}
	case "rpc.service":
		f.rpcService = v.str()
	case "rpc.method":
		f.rpcMethod = v.str()
	case "rpc.grpc.status_code":
		if n, ok := v.integer(); ok {
			f.grpcCode = n
		}
	case "db.system.name":
		f.dbSystem = v.str()
	case "db.system":
		f.dbSystemOld = v.str()
	case "db.namespace":
		f.dbNamespace = v.str()
	case "db.name":
		f.dbNamespaceOld = v.str()
	case "messaging.system":
		f.messagingSystem = v.str()
	case "messaging.destination.name":
		f.queue = v.str()
	case "server.address":
		f.serverAddress = v.str()
	case "server.port":
		f.serverPort, _ = v.integer()
	case "net.peer.name":
		f.peerAddress = v.str()
	case "net.peer.port":
		f.peerPort, _ = v.integer()
	}
}

func (f *facts) learnStatus(v *value) {
	if n, ok := v.integer(); ok && n >= 100 && n <= 999 {
		f.httpStatus = n
	}
}

// The gRPC codes that are the server's fault.
const grpcErrors = 1<<2 /* Unknown */ | 1<<4 /* DeadlineExceeded */ | 1<<12 /* Unimplemented */ |
	1<<13 /* Internal */ | 1<<14 /* Unavailable */ | 1<<15 /* DataLoss */

// otlpStatusError is OTLP's Status.StatusCode for an error.
const otlpStatusError = 2

// isError says whether a span failed: its HTTP status is 5xx, its gRPC code is one of grpcErrors, or its span status
// is Error and it has neither.
func (f *facts) isError(spanStatus int32) bool {
	if f.httpStatus == 0 && f.grpcCode < 0 {
		return spanStatus == otlpStatusError
	}
	return f.httpStatus >= 500 && f.httpStatus <= 599 ||
		f.grpcCode >= 0 && f.grpcCode < 32 && grpcErrors>>f.grpcCode&1 == 1
}

// route appends the request's route: http.route, else the RPC's service/method, else the span's name.
func (f *facts) route(dst, spanName []byte) []byte {
	switch {
	case len(f.httpRoute) > 0:
		return append(dst, f.httpRoute...)
	case len(f.rpcMethod) > 0 && len(f.rpcService) > 0:
		dst = append(dst, f.rpcService...)
		dst = append(dst, '/')
		return append(dst, f.rpcMethod...)
	case len(f.rpcMethod) > 0:
		return append(dst, f.rpcMethod...)
	}
	return append(dst, spanName...)
}

// load says on what a client or producer span put load: its kind ("" for none of ours) and the name of the system.
func (f *facts) load() (kind string, system []byte) {
	system = f.dbSystem
	if len(system) == 0 {
		system = f.dbSystemOld
	}
	switch {
	case len(system) > 0:
		return databaseKind(system), system
	case len(f.messagingSystem) > 0:
		return "queue", f.messagingSystem
	}
	return "", nil
}

// databaseKind tells caches from databases.
func databaseKind(system []byte) string {
	switch string(system) {
	case "redis", "memcached", "valkey":
		return cache
	}
	return database
}

// instance appends which one of the kind it was. A queue is its destination, for that is what fills up, else its
// server; a database or cache is its server, else its namespace. A span that names neither is under its system's name.
func (f *facts) instance(dst []byte, kind string, system []byte) []byte {
	if kind == "queue" && len(f.queue) > 0 {
		return append(dst, f.queue...)
	}
	address, port := f.serverAddress, f.serverPort
	if len(address) == 0 {
		address, port = f.peerAddress, f.peerPort
	}
	switch {
	case len(address) > 0 && port > 0:
		dst = append(dst, address...)
		dst = append(dst, ':')
		return strconv.AppendInt(dst, port, 10)
	case len(address) > 0:
		return append(dst, address...)
	case len(f.dbNamespace) > 0:
		return append(dst, f.dbNamespace...)
	case len(f.dbNamespaceOld) > 0:
		return append(dst, f.dbNamespaceOld...)
	}
	return append(dst, system...)
}
