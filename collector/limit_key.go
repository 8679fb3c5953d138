package collector

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// keyLimits holds API keys to their rates. A request is let in while its key is not in debt, and charged what it turns out
// to be; the next one waits until the debt is paid. It is safe for concurrent use.
type keyLimits struct {
	quota tenant.KeyQuota

	mu   sync.Mutex // guards keys
	keys map[int64]*keyTokens
}

type keyTokens struct {
	left amount
	at   int64
}

const (
	keyBurst = 10.0 // seconds of its rate that a quiet key may send at once
	keyDebt  = 60.0 // seconds that a key has to wait at most
)

func (k *keyLimits) rate() amount {
	of := func(v int64) float64 {
		if v == 0 {
			return unlimited
		}
		return float64(v)
	}
	return amount{of(k.quota.SpansPerSecond), of(k.quota.BytesPerSecond)}
}

// admit charges the key for a body, or refuses it.
func (k *keyLimits) admit(key int64, name string, bytes int, now int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	rate := k.rate()
	t := k.tokens(key, rate, now)
	if t.left.spans > 0 && t.left.bytes > 0 {
		t.left.bytes -= float64(bytes)
		return nil
	}
	limitMetrics.overKey.Inc()
	wait := max(-t.left.spans/rate.spans, -t.left.bytes/rate.bytes)
	what, limit := "spans", k.quota.SpansPerSecond
	if t.left.bytes <= 0 {
		what, limit = "bytes", k.quota.BytesPerSecond
	}
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Duration(math.Ceil(max(wait, 1))) * time.Second,
		Message: fmt.Sprintf("the API key %q sends more than %d %s a second", name, limit, what)}
}

// charge counts spans that the key has sent.
func (k *keyLimits) charge(key int64, spans int, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens(key, k.rate(), now).left.spans -= float64(spans)
}

// chargeBytes counts the bytes of a body that came to nothing.
func (k *keyLimits) chargeBytes(key int64, bytes int, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens(key, k.rate(), now).left.bytes -= float64(bytes)
}

func (k *keyLimits) tokens(key int64, rate amount, now int64) *keyTokens {
	t := k.keys[key]
	if t == nil {
		if k.keys == nil {
			k.keys = make(map[int64]*keyTokens)
		}
		t = &keyTokens{left: amount{}.plus(rate, keyBurst), at: now}
		k.keys[key] = t
	}
	t.left = t.left.plus(rate, elapsed(&t.at, now)).within(amount{}.plus(rate, -keyDebt), amount{}.plus(rate, keyBurst))
	return t
}

// forgetIdle forgets keys that have all of their burst again. There are as many as an operator has made.
func (k *keyLimits) forgetIdle(now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, t := range k.keys {
		if now-t.at > int64((keyBurst+keyDebt)*1e9) {
			delete(k.keys, key)
		}
	}
}
