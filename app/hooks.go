package app

import (
	"net/http"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/web"
)

// hooks are how this package's tests say who calls and take one of the walls between tenants away. Nothing but a test can set
// them: no option does.
type hooks struct {
	identify       func(http.Handler) http.Handler // behind the check of keys and sessions
	confine        func(http.Handler) http.Handler // web.Confine, the second wall
	behindConfine  func(http.Handler) http.Handler // what handlers see of the caller, the first wall
	openClickHouse func(dsn string) (driver.Conn, error)
}

// confineIn puts the second wall around what is registered afterwards.
func (h *hooks) confineIn(r chi.Router) {
	if h.identify != nil {
		r.Use(h.identify)
	}
	if h.confine != nil {
		r.Use(h.confine)
	} else {
		r.Use(web.Confine)
	}
	if h.behindConfine != nil {
		r.Use(h.behindConfine)
	}
}

func (h *hooks) open() func(dsn string) (driver.Conn, error) {
	if h.openClickHouse != nil {
		return h.openClickHouse
	}
	return clickhouse.Open
}
