package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// TestFloodWhileClickHouseHangs lets a thousand clients push while ClickHouse hangs. The spool fills, and then they are
// told to come again, before headroom's memory grows. When ClickHouse goes on, everything that got a 200 is there, once.
func TestFloodWhileClickHouseHangs(t *testing.T) {
	const clients, spans, maxResident = 1000, 150, 400 << 20
	h := start(t, harness.Options{Args: []string{"--max-spool-bytes", strconv.Itoa(6 << 20)}})
	applyAvailability(t, h, "steady", "steady")
	key := ingestKey(t, h)
	l := startLoad(h, key, "steady")
	eventually(t, 20*time.Second, "spans are stored", func() error {
		if storedRows(t, h) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	engine, err := h.Engine("clickhouse")
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Resume() })

	var (
		flood    sync.WaitGroup
		stop     = make(chan struct{})
		serial   atomic.Int64
		accepted atomic.Int64
		refused  atomic.Int64
		wrong    atomic.Pointer[string]
	)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	fail := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		wrong.Store(&s)
	}
	requests := make([]*tracepb.Span, spans)
	for i := range requests {
		requests[i] = requestSpan("flood", "/flood", time.Now(), time.Millisecond, 200)
	}
	for range clients {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Each body is another one: what was acknowledged before would be so again.
				body := export("flood", fmt.Sprint("service-", serial.Add(1)), requests)
				req, err := http.NewRequest(http.MethodPost, h.OTLP+"/v1/traces", bytes.NewReader(body))
				if err != nil {
					fail("%v", err)
					return
				}
				req.Header.Set("Content-Type", "application/x-protobuf")
				req.Header.Set("Authorization", "Bearer "+key)
				resp, err := client.Do(req)
				if err != nil {
					fail("%v", err)
					return
				}
				answer, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				switch {
				case resp.StatusCode == http.StatusOK && len(answer) == 0:
					accepted.Add(1)
				case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					fail("%d %q", resp.StatusCode, answer)
					return
				}
			}
		})
	}
	resident := 0
	eventually(t, time.Minute, "the spool is full and clients are told to come again", func() error {
		resident = max(resident, residentBytes(t, h.PID()))
		if n := refused.Load(); n < 5*clients {
			return fmt.Errorf("%d requests were refused, %d accepted", n, accepted.Load())
		}
		return nil
	})
	close(stop)
	flood.Wait()
	if s := wrong.Load(); s != nil {
		t.Errorf("a client got: %s", *s)
	}
	resident = max(resident, residentBytes(t, h.PID()))
	t.Logf("%d requests of %d spans accepted, %d refused; headroom had at most %d MiB", accepted.Load(), spans, refused.Load(), resident>>20)
	if resident > maxResident {
		t.Errorf("headroom had %d bytes resident, want at most %d", resident, maxResident)
	}
	if err := engine.Resume(); err != nil {
		t.Fatal(err)
	}
	l.finish(t)
	l.wantStored(t, h, embedded(t, h), "steady")
	ch := embedded(t, h)
	want := fmt.Sprint(accepted.Load() * spans)
	eventually(t, time.Minute, "the flood's requests are stored once", func() error {
		out, err := ch.Query(t.Context(), "SELECT (SELECT count() FROM requests WHERE product = 'flood'), (SELECT sum(requests) FROM latency_1h WHERE product = 'flood')")
		if err == nil && out != want+"\t"+want {
			err = fmt.Errorf("%s, want %s in both", out, want)
		}
		return err
	})
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}

// residentBytes returns how much memory a process has.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	src, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(src)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("process %d tells no VmRSS", pid)
	return 0
}
