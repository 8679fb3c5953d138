// Package statuspage owns what customers see: components whose state follows their SLOs, incidents with their updates,
// the changelog, the public pages, the feeds and Statuspage's v2 JSON.
//
// It promises that the pages outlive us: a publisher renders the whole site into memory and keeps the last good state on
// disk, and the handler only looks a path up, so that with PostgreSQL and ClickHouse both away, or after a restart
// without them, the last good state is served with its age. Public pages are made from View alone, whose types have no
// field that is not meant for everybody.
//
// Packages app and dashboards may import it.
package statuspage
