package tenant_test

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	limits := tenant.AttemptLimits{Address: tenant.AttemptLimit{Burst: 8, Every: time.Hour}, Pair: tenant.AttemptLimit{Burst: 3, Every: time.Hour},
		Account: tenant.AttemptLimit{Burst: 5, Every: time.Hour}}
	a, b := tenant.NewAttempts(pg.Pool, limits), tenant.NewAttempts(pg.Pool, limits) // two instances
	try := func(at *tenant.Attempts, from, account string) (*tenant.Attempt, error) {
		return at.Begin(tenant.WithOrigin(t.Context(), tenant.Origin{Address: netip.MustParseAddr(from)}), account)
	}
	f := func(at *tenant.Attempts, from, account string, want bool) {
		t.Helper()
		_, err := try(at, from, account)
		var e *fault.Error
		if want != (err == nil) || !want && (!errors.Is(err, tenant.ErrTooManyAttempts) || !errors.As(err, &e) || e.RetryAfter < time.Minute) {
			t.Errorf("%s into %q: got %v, want let through: %v", from, account, err, want)
		}
	}
	f(a, "192.0.2.1", "ada@example.com", true)
	f(b, "192.0.2.1", "ADA@example.com", true)
	f(a, "192.0.2.1", "ada@example.com", true)
	f(b, "192.0.2.1", "ada@example.com", false) // of the pair
	for _, other := range []string{"1", "2", "3", "4", "5"} {
		f(a, "192.0.2.1", other, true)
	}
	f(a, "192.0.2.1", "6", false) // of the address; the try that the pair refused was given back
	f(b, "192.0.2.1", "", false)
	f(a, "192.0.2.2", "ada@example.com", true)
	f(a, "2001:db8::1", "ada@example.com", true)
	f(a, "192.0.2.3", "ada@example.com", false) // of the account
	f(a, "2001:db8::ffff", "zoe@example.com", true)

	// Where a person signed in from lately, others' tries keep nobody out.
	users := tenant.NewUsers(pg.Pool)
	mustUser(t, users, "ada@example.com", tenant.RoleOwner)
	home := tenant.WithOrigin(t.Context(), tenant.Origin{Address: netip.MustParseAddr("198.51.100.7")})
	if _, err := users.ByPassword(home, "ada@example.com", password); err != nil {
		t.Fatal(err)
	}
	f(b, "198.51.100.7", "ada@example.com", true)
	f(a, "198.51.100.8", "ada@example.com", false)

	// Success costs nothing.
	for range 20 {
		at, err := try(a, "203.0.113.1", "bob@example.com")
		if err != nil {
			t.Fatal(err)
		}
		at.GiveBack(t.Context())
	}
	// Tries side by side take no more than there are.
	var through atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := try(a, "203.0.113.9", "eve@example.com"); err == nil {
				through.Add(1)
			}
		})
	}
	wg.Wait()
	if n := through.Load(); n > 3 || n < 1 {
		t.Errorf("%d of 16 tries at once were let through, want up to 3", n)
	}
}
