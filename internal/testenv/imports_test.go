package testenv_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nexis-limited/headroom"

// allowed says which of our packages each package may import, and so draws the one direction of imports:
// cmd → app → features → tenant, web → clickhouse, postgres → fault, migrations → standard library.
var allowed = map[string][]string{
	"fault":      {},                                                // the ground: everything may import it, so it may import nothing
	"migrations": {},                                                // SQL and how to run it, the same for both databases
	"clickhouse": {"migrations"},                                    // connects and migrates; no domain SQL, so no domain package
	"postgres":   {"fault", "migrations"},                           // as clickhouse, and translates errors to kinds
	"tenant":     {"fault", "postgres", "migrations", "clickhouse"}, // who a tenant is, its schema, how it leaves; features build on it
	"web":        {"fault", "clickhouse", "postgres", "tenant"},     // who calls; knows identities, no feature
	"web/theme":  {},                                                // looks only
	"engines":    {},                                                // could serve another product: knows no tenant, no SLO

	"collector":      {"fault", "tenant", "clickhouse"},                   // must work whatever the features do
	"alerting":       {"fault", "tenant", "postgres", "web", "web/theme"}, // knows events, not SLOs; numbers look alike everywhere
	"alerting/slack": {"alerting", "web/theme"},                           // a notifier; implements alerting's interface
	"slo":            {"fault", "tenant", "clickhouse", "postgres", "web", "web/theme", "alerting"},
	"statuspage":     {"fault", "tenant", "postgres", "web", "web/theme", "slo"},
	"dashboards": {"fault", "tenant", "clickhouse", "postgres", "web", "web/theme", "slo", "alerting", "alerting/slack",
		"statuspage"}, // shows what all the others know

	"alerting/slack/slackfake": {},                // Slack's API at another address, for tests
	"internal/demo":            {"slo", "tenant"}, // a customer of ours: it shares words with us, and talks HTTP only
	"app": {"fault", "tenant", "clickhouse", "postgres", "migrations", "web", "engines", "collector", "slo", "alerting",
		"alerting/slack", "statuspage", "dashboards", "internal/demo"},
	"cmd/headroom": {"app", "engines", "postgres", "slo", "tenant"}, // flags only; slo and tenant for checking files without a server
}

// TestImportsGoOneWay fails for a package that imports what it must not, and for one that nobody placed.
func TestImportsGoOneWay(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || pkg == "internal/testenv" || strings.HasPrefix(pkg, "e2e") ||
			strings.HasPrefix(pkg, "bench") {
			return nil
		}
		may, placed := allowed[pkg]
		if !placed {
			t.Errorf("package %q has no place in the table of imports: give it one, with the reason", pkg)
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			ours, ok := strings.CutPrefix(imported, module+"/")
			if ok && !contains(may, ours) {
				t.Errorf("%s imports %q: %q may import %v only", rel, ours, pkg, may)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
