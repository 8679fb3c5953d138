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
	"slo/sync.go": "ClickHouse's copy of the objectives is for all requests that are counted, whoever's change made it old",
}

// TestFewLookPastTheWall fails for a file that calls clickhouse.OwnWork, or opens ClickHouse without the second wall, and is not
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
		if strings.Contains(string(text), "clickhouse.OwnWork(") || strings.Contains(string(text), "clickhouse.OpenOwner(") {
			used[rel] = true
			if lifters[rel] == "" {
				t.Errorf("%s looks past the second wall of ClickHouse: give it a line in lifters, with the reason", rel)
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
