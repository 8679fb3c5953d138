package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// A key is hr_PREFIX_SECRET: the prefix finds it, the secret has 160 random bits, so one SHA-256 is enough to store it
// by (slow hashes are for what people choose).
const (
	keyMark     = "hr"
	prefixBytes = 5
	secretBytes = 20

	prefixStart = len(keyMark) + 1
	prefixEnd   = prefixStart + prefixBytes*8/5
	keyLen      = prefixEnd + 1 + secretBytes*8/5
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewKeyText returns the text of a new random key.
func NewKeyText() string {
	var b [prefixBytes + secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return keyMark + "_" + base32Lower.EncodeToString(b[:prefixBytes]) + "_" + base32Lower.EncodeToString(b[prefixBytes:])
}

// keyPrefix returns the prefix of a key's text, as part of it. The error is Unauthenticated and tells nothing of the text.
func keyPrefix(text string) (string, error) {
	if text == "" {
		return "", fault.New(fault.Unauthenticated, "no API key: send the header \"Authorization: Bearer hr_…\"")
	}
	if len(text) != keyLen || text[:prefixStart] != keyMark+"_" || text[prefixEnd] != '_' ||
		!isBase32(text[prefixStart:prefixEnd]) || !isBase32(text[prefixEnd+1:]) {
		return "", fault.New(fault.Unauthenticated, "the API key is malformed: it has the form %s_…_…", keyMark)
	}
	return text[prefixStart:prefixEnd], nil
}

func isBase32(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// Authenticate returns whose key the text is. Its error is Unauthenticated for a key that is malformed, unknown,
// revoked or expired, and tells which without repeating the key.
//
// A key that is known costs no query and no allocation. One that is not may have been made elsewhere this moment: the
// call then waits for what PostgreSQL says, together with all others that do, so that whoever sends keys of their own
// making takes one connection from the others and no more. When PostgreSQL is away, known keys go on working, so that
// ingest survives it; unknown ones get Unavailable.
func (k *Keys) Authenticate(ctx context.Context, text string) (Identity, error) {
	prefix, err := keyPrefix(text)
	if err != nil {
		return Identity{}, err
	}
	known := k.table.Load().keys[prefix]
	if known == nil {
		if err := k.refresh(ctx); err != nil {
			return Identity{}, err
		}
		if known = k.table.Load().keys[prefix]; known == nil {
			return Identity{}, errUnknownKey
		}
	}
	return known.check(text, time.Now())
}

// Known reports whether the keys have been read, so that those that work are known.
func (k *Keys) Known() bool { return k.table.Load().keys != nil }

var errUnknownKey = fault.New(fault.Unauthenticated, "the API key is unknown")

// knownKey is what a check needs of a key. It is never changed.
type knownKey struct {
	Identity
	prefix    string
	hash      [sha256.Size]byte
	expiresAt *time.Time
	revokedAt *time.Time
	use       *keyUse
}

// check compares the whole text, of which only the prefix was looked at so far.
func (k *knownKey) check(text string, now time.Time) (Identity, error) {
	var b [keyLen]byte // a copy on the stack: a conversion would be on the heap
	copy(b[:], text)
	hash := sha256.Sum256(b[:])
	switch {
	case subtle.ConstantTimeCompare(k.hash[:], hash[:]) != 1:
		return Identity{}, errUnknownKey
	case k.revokedAt != nil:
		return Identity{}, fault.New(fault.Unauthenticated, "the API key %s_%s_… was revoked at %s", keyMark, k.prefix, k.revokedAt.UTC().Format(time.RFC3339))
	case k.expiresAt != nil && !now.Before(*k.expiresAt):
		return Identity{}, fault.New(fault.Unauthenticated, "the API key %s_%s_… expired at %s", keyMark, k.prefix, k.expiresAt.UTC().Format(time.RFC3339))
	}
	k.use.note(now)
	return k.Identity, nil
}
