package testenv_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lifters may look past the bounds of a request, each for a reason.
var lifters = map[string]string{
	"web/session_store.go":  "a person's sessions may be in several of their tenants; the statements name the person",
	"web/signin.go":         "the same for the tenants that they are members of",
	"tenant/keys_follow.go": "every instance knows the keys of all, whoever's change made it look",
	"tenant/store.go":       "the list of tenants is kept for all readers, and cut for each",
	"tenant/gate.go":        "what plans give is kept for all readers; they ask for one tenant's",
	"app/tenants.go":        "deletes and exports one tenant, by statements that name it",
	"slo/sync.go":           "ClickHouse's copy of the objectives is for all requests that are counted, whoever's change made it old",
}

// TestFewLookPastTheWall fails for a file that calls OwnWork of clickhouse or postgres, or opens ClickHouse without the second wall, and is not
// among those that may.
func TestFewLookPastTheWall(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || rel == "bench" || rel == "internal/testenv") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), ".OwnWork(") || strings.Contains(string(text), "clickhouse.OpenOwner(") ||
			strings.Contains(string(text), "clickhouse.OpenHTTP(") {
			used[rel] = true
			if lifters[rel] == "" {
				t.Errorf("%s looks past the second wall: give it a line in lifters, with the reason", rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range lifters {
		if !used[name] {
			t.Errorf("%s no longer looks past the second wall", name)
		}
	}
}
