package tenant

import (
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/fault"
)

func TestParseQuotas(t *testing.T) {
	q, err := ParseQuotas(nil)
	if err != nil || q != DefaultQuotas() {
		t.Errorf("no settings: got %+v, %v; want the defaults", q, err)
	}
	q, err = ParseQuotas([]string{
		"starter.spans-per-second=5", "starter.spans-per-second = 7", "professional.hard-limit=0", "enterprise.burst-seconds=1",
		"unregistered.active-series=3", "key.bytes-per-second=9",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultQuotas()
	want.Starter.SpansPerSecond, want.Professional.HardLimit, want.Enterprise.BurstSeconds = 7, 0, 1
	want.Unregistered.ActiveSeries, want.Key.BytesPerSecond = 3, 9
	if q != want {
		t.Errorf("got %+v, want %+v", q, want)
	}
}

func TestBadQuotaSettingsAreNamed(t *testing.T) {
	f := func(setting string, says ...string) {
		t.Helper()
		_, err := ParseQuotas([]string{"starter.hard-limit=5", setting})
		if !fault.Is(err, fault.Invalid) {
			t.Fatalf("%q: got %v, want an Invalid error", setting, err)
		}
		for _, s := range append(says, setting) {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%q: error %q does not say %q", setting, err, s)
			}
		}
	}
	f("starter", "WHOM.NAME=VALUE")
	f("starter=5", "WHOM.NAME=VALUE")
	f("gold.burst-seconds=5", "gold", "starter, professional, enterprise, unregistered or key")
	f("starter.spans=5", "spans", "new-routes-per-hour, new-series-per-hour, new-services-per-hour, points-per-second, spans-per-second")
	f("key.burst-seconds=5", "burst-seconds", "bytes-per-second, new-tenants-per-hour, spans-per-second")
	f("starter.spans-per-second=many", "starter.spans-per-second", "many")
	f("starter.spans-per-second=-1", "-1")
	f("starter.bytes-per-second=10MiB", "10MiB", "whole number")
	f("starter.bytes-per-second=99999999999999999", "1099511627776")
	f("enterprise.burst-seconds=0", "enterprise.burst-seconds", "from 1 to 3600")
	f("enterprise.hard-limit=1000001", "multiple")
}

func TestQuotaOfPlan(t *testing.T) {
	q := Quotas{Starter: Quota{HardLimit: 1}, Professional: Quota{HardLimit: 2}, Enterprise: Quota{HardLimit: 3}, Unregistered: Quota{HardLimit: 4}}
	for p, want := range map[Plan]int64{Starter: 1, Professional: 2, Enterprise: 3, "": 4} {
		if got := q.Of(p).HardLimit; got != want {
			t.Errorf("plan %q: got the quota with hard limit %d, want %d", p, got, want)
		}
	}
}

func FuzzParseQuotas(f *testing.F) {
	f.Add("starter.spans-per-second=5")
	f.Add("key.bytes-per-second = 0")
	f.Add("a.b=c")
	f.Fuzz(func(t *testing.T, setting string) {
		q, err := ParseQuotas([]string{setting})
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v is not Invalid", setting, err)
		}
		for _, p := range append(Plans(), "") {
			if of := q.Of(p); of.BurstSeconds < 1 || of.SpansPerSecond < 0 || of.HardLimit < 0 || of.BytesPerSecond < 0 {
				t.Errorf("%q makes a quota of %+v", setting, of)
			}
		}
	})
}
