package collector

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// BenchmarkLimits is from a body with the spans of 40 tenants to the compressed blocks of all tables, on one core:
// without quotas, under them, and with all tenants over theirs.
func BenchmarkLimits(b *testing.B) {
	for _, c := range []struct {
		name    string
		limiter *limiter
	}{
		{"none", nil},
		{"under", newLimiter(tenant.DefaultQuotas(), nil, discard, time.Now())},
		{"over", newLimiter(testQuotas(1, 0), nil, discard, time.Now())},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := benchBody(b, 1000)
			d := limitedDecoder(c.limiter)
			cols, enc := newColumns(), newEncoder()
			var data []byte
			decoded := 0
			began := cpuTime(b)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.decode(request{signal: traces, body: body}, cols, time.Now()); err != nil {
					b.Fatal(err)
				}
				if decoded += 1000; decoded%10_000 != 0 {
					continue
				}
				for t := range tables {
					in, rows := cols.input(t)
					if rows == 0 {
						continue
					}
					var err error
					if data, _, err = enc.block(data[:0], in, rows); err != nil {
						b.Fatal(err)
					}
				}
				cols.reset()
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(decoded), "cpu-ns/span")
		})
	}
}

// cpuTime returns what this process has used of processors: what else runs on the machine disturbs it less than a clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAdmit is the quotas' part of that alone, a span an operation: what asks for the tenant's account, and for the
// route.
func BenchmarkAdmit(b *testing.B) {
	ids := make([]tenant.ID, 100)
	for i := range ids {
		ids[i] = tenant.ID(fmt.Sprint("tenant-", i))
	}
	d := limitedDecoder(newLimiter(tenant.DefaultQuotas(), nil, discard, time.Now()))
	product, service, route := []byte("shop"), []byte("checkout"), []byte("/api/items/{id}")
	d.out.signal = traces
	var paid ledger
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%1000 == 0 { // a request
			d.limits.end()
			paid.cut(0)
			d.limits.begin(time.Now(), &paid)
		}
		id := ids[i%len(ids)]
		if keep, ok := d.admit(id, 300); !keep || !ok {
			b.Fatal("not kept")
		}
		if i%5 < 2 { // as many are requests
			d.admitRoute(id, product, service, route)
		}
		i++
	}
}
