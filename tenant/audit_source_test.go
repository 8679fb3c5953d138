package tenant

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOneWriterOfTheAuditLog reads all sources: an entry is written by Audit, which knows who, from where, and what must not be
// stored; and only who keeps the log deletes from it.
func TestOneWriterOfTheAuditLog(t *testing.T) {
	t.Parallel()
	writes := regexp.MustCompile(`(?i)(insert\s+into|merge\s+into|update|copy)\s+(only\s+)?control\.audit_log\b`)
	deletes := regexp.MustCompile(`(?i)(delete\s+from|truncate(\s+table)?)\s+(only\s+)?control\.audit_log\b`)
	found := false
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != "..") {
			return fs.SkipDir
		}
		ext := filepath.Ext(path)
		if d.IsDir() || ext != ".go" && ext != ".sql" || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "00011_audit.sql") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, "../")
		switch {
		case name == "tenant/audit.go":
			found = writes.Match(b)
		case writes.Match(b):
			t.Errorf("%s writes the audit log itself: call tenant.Audit in the transaction of the change", name)
		case name != "tenant/audit_keep.go" && deletes.Match(b):
			t.Errorf("%s deletes from the audit log, which tenant.AuditKeeper does when its time has come", name)
		}
		return nil
	})
	if err != nil || !found {
		t.Errorf("tenant/audit.go was not found, or writes nothing: %v", err)
	}
}
