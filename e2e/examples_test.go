package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// exampleModule is OTLP's own repository, which the Go proxy serves as it serves any. Its examples/*.json are what
// people who write a client look at.
const exampleModule = "github.com/open-telemetry/opentelemetry-proto@v1.11.0"

// TestExamplesOfOTLP sends the canonical example messages. They are from 2018: as they are, the span is refused in a partial
// success that says why. Brought forward to now, all that is stored is stored.
func TestExamplesOfOTLP(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	dir := examples(t)
	post := func(file, path string, change ...string) harness.Answer {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.OTLP+path, strings.NewReader(strings.NewReplacer(change...).Replace(string(b))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+w.ingestKey)
		a, err := harness.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s %s", file, a.Status, a.Header.Get("Content-Type"), a.Body)
		}
		return a
	}
	a := post("trace.json", "/v1/traces")
	wantSays(t, "trace.json", string(a.Body), []string{`"rejectedSpans":"1"`, "start_time_unix_nano", "2018-12-13", "I'm a server span"})
	now := strconv.FormatInt(time.Now().Unix(), 10)
	if a := post("trace.json", "/v1/traces", "1544712660", now, "1544712661", now, "my.service", "canonical"); string(a.Body) != "{}" {
		t.Errorf("trace.json of today: %s", a.Body)
	}
	ch := embedded(t, w.Headroom)
	eventually(t, 20*time.Second, "the canonical span is stored", func() error {
		got, err := ch.Query(t.Context(), "SELECT hex(trace_id), hex(span_id), hex(parent_span_id), name, kind, attributes['my.span.attr'] FROM trace_spans WHERE service = 'canonical'")
		if want := "5B8EFFF798038103D269B633813FC60C\tEEE19B7EC3C1B174\tEEE19B7EC3C1B173\tI\\'m a server span\t2\tsome value"; err == nil && got != want {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
	for _, file := range []string{"logs.json", "events.json"} {
		wantSays(t, file, string(post(file, "/v1/logs").Body), []string{`"rejectedLogRecords":"1"`, "does not store logs"})
	}
	a = post("metrics.json", "/v1/metrics")
	wantSays(t, "metrics.json", string(a.Body), []string{`"rejectedDataPoints":"4"`, "2018-12-13"})
	if a := post("metrics.json", "/v1/metrics", "1544712660", now, "my.service", "canonical"); string(a.Body) != "{}" {
		t.Errorf("metrics.json of today: %s", a.Body)
	}
	eventually(t, 20*time.Second, "the canonical metrics are stored", func() error {
		got, err := ch.Query(t.Context(), "SELECT DISTINCT concat(metric, ' ', kind) AS m FROM metric_series WHERE service = 'canonical' ORDER BY m")
		if want := "my.counter delta\nmy.exponential.histogram delta_histogram\nmy.gauge gauge\nmy.histogram_bucket delta\n" +
			"my.histogram_count delta\nmy.histogram_sum delta"; err == nil && got != want {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

// examples returns the directory of the examples.
func examples(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", exampleModule)
	cmd.Dir = t.TempDir() // of no module
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out.Bytes(), &module); err != nil || jsonErr != nil {
		t.Fatalf("cannot download %s: %v %s %s", exampleModule, err, module.Error, &problem)
	}
	return filepath.Join(module.Dir, "examples")
}
