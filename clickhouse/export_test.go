package clickhouse

import (
	"maps"
	"slices"
)

// WallOf returns how the rows of a table tell their tenant, product and service.
func WallOf(table string) ([3]string, bool) {
	w, ok := walls[table]
	return [3]string{w.tenant, w.product, w.service}, ok
}

// WalledTables returns the names of all tables with a wall.
func WalledTables() []string { return slices.Sorted(maps.Keys(walls)) }
