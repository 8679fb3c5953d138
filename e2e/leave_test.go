package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// TestKilledWhileATenantLeaves takes two tenants on, exports one and deletes it, all by the command line, and kills headroom
// with its databases again and again while the deletion runs.
func TestKilledWhileATenantLeaves(t *testing.T) {
	t.Parallel()
	h := start(t, harness.Options{})
	run := func(args ...string) string {
		t.Helper()
		cmd, err := harness.Command(t.Context(), append(args, "--server", h.Console, "--data", h.Data)...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("headroom %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := run("tenant", "create", "leaves", "--plan", "enterprise"); !strings.Contains(out, "OTEL_RESOURCE_ATTRIBUTES='tenant.id=leaves'") {
		t.Errorf("create says\n%s", out)
	}
	run("tenant", "create", "stays")
	key := ingestKey(t, h)
	ch := embedded(t, h)
	body := func(ids ...string) []byte {
		var spans []*tracepb.Span
		for _, id := range ids {
			for range 100 {
				spans = append(spans, requestSpan(id, "/a", time.Now(), time.Millisecond, 200))
			}
		}
		return export("leaving", "checkout", spans)
	}
	if err := postAll(t.Context(), h.OTLP, key, body("leaves", "stays")); err != nil {
		t.Fatal(err)
	}
	count := func(id string, want int) {
		t.Helper()
		eventually(t, time.Minute, "the tables have what was sent", func() error {
			for _, table := range []string{"count() FROM requests", "count() FROM trace_spans", "sum(requests) FROM latency_1m", "sum(requests) FROM latency_1h"} {
				got, err := ch.Query(t.Context(), fmt.Sprintf("SELECT %s WHERE tenant = '%s'", table, id))
				if err != nil {
					return err
				}
				if got = strings.TrimSpace(got); got != fmt.Sprint(want) {
					return fmt.Errorf("%s of %s is %s, want %d", table, id, got, want)
				}
			}
			return nil
		})
	}
	count("leaves", 100)
	archive := filepath.Join(t.TempDir(), "leaves.tar.zst")
	run("tenant", "export", "leaves", "--out", archive)
	verify, err := harness.Command(t.Context(), "tenant", "verify", archive)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "complete") || !strings.Contains(string(out), "100 rows") {
		t.Errorf("verify: %v\n%s", err, out)
	}

	// More of both is on its way into ClickHouse when the deletion begins.
	if err := postAll(t.Context(), h.OTLP, key, body("leaves", "stays")); err != nil {
		t.Fatal(err)
	}
	a, err := h.API().Do(t.Context(), http.MethodDelete, "/tenants/leaves?confirm=leaves", "", nil)
	if err != nil || a.Status != http.StatusAccepted {
		t.Fatalf("DELETE: %d %s %v", a.Status, a.Body, err)
	}
	for range killRounds(t) {
		atSomeMoment(t, 0, 1500*time.Millisecond)
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
		if h, err = h.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		killAtEnd(t, h)
		ch = embedded(t, h)
	}
	if out := run("tenant", "delete", "leaves", "--confirm", "leaves"); !strings.Contains(out, "requests") {
		t.Errorf("delete says\n%s", out)
	}
	count("stays", 200)
	for _, table := range []string{"requests", "trace_spans", "latency_1m", "latency_1h", "ingest_1m"} {
		if got, err := ch.Query(t.Context(), "SELECT count() FROM "+table+" WHERE tenant = 'leaves'"); err != nil || strings.TrimSpace(got) != "0" {
			t.Errorf("%s has %s rows of it, %v", table, got, err)
		}
	}
	eventually(t, time.Minute, "it is refused", func() error {
		a, err := post(t.Context(), h.OTLP, key, body("leaves"))
		if err != nil || a.Status != http.StatusOK || !strings.Contains(string(a.Body), "was deleted") {
			return fmt.Errorf("got %d %q %w", a.Status, a.Body, err)
		}
		return nil
	})
}
