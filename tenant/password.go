package tenant

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/nexis-limited/headroom/fault"
)

// Passwords are stored as PHC strings of argon2id, such as
// $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, so that each says how it was made.

// argon2Cost is what a hash takes. The numbers are the first row of OWASP's Password Storage Cheat Sheet.
type argon2Cost struct {
	memoryKiB, passes uint32
	lanes             uint8
}

// currentCost is what new hashes are made with. A hash that took another is made anew when its owner signs in.
var currentCost = argon2Cost{memoryKiB: 19 << 10, passes: 2, lanes: 1}

// The most that a stored hash may ask for: the database is trusted, a mistake in it must not stop the server.
var maxCost = argon2Cost{memoryKiB: 256 << 10, passes: 16, lanes: 16}

const (
	argon2Salt = 16 // bytes
	argon2Hash = 32 // bytes

	minPassword = 12  // characters
	maxPassword = 256 // bytes
)

// hashing lets in as many hashes as there are processors: more would not be faster, and each takes 19 MiB.
var hashing = make(chan struct{}, runtime.GOMAXPROCS(0))

// nobodysHash is what the password of an address without one is compared with, so that the answer takes as long.
var nobodysHash = encodeHash(currentCost, make([]byte, argon2Salt), make([]byte, argon2Hash))

// checkPassword refuses what is too short to be one. Longer is better than stranger (NIST SP 800-63B), so there is no rule
// on which characters it has.
func checkPassword(password, email string) error {
	wrong := func(format string, args ...any) error {
		return &fault.Error{Kind: fault.Invalid, Field: "password", Message: fmt.Sprintf(format, args...)} // without its value
	}
	switch {
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		return wrong("must be UTF-8 text")
	case utf8.RuneCountInString(password) < minPassword:
		return wrong("must have at least %d characters", minPassword)
	case len(password) > maxPassword:
		return wrong("must have at most %d bytes", maxPassword)
	case strings.Count(password, password[:1]) == len(password):
		return wrong("must not be one character again and again")
	case strings.EqualFold(password, email):
		return wrong("must not be the address")
	}
	return nil
}

// hashPassword returns the hash to store.
func hashPassword(ctx context.Context, password string) (string, error) {
	var salt [argon2Salt]byte
	_, _ = rand.Read(salt[:]) // never fails
	hash, err := argon2id(ctx, password, salt[:], currentCost, argon2Hash)
	if err != nil {
		return "", err
	}
	return encodeHash(currentCost, salt[:], hash), nil
}

// verifyPassword reports whether the password is the stored one, and whether that should be hashed anew. An empty stored
// hash takes as long and matches nothing.
func verifyPassword(ctx context.Context, password, stored string) (ok, stale bool, err error) {
	against := stored
	if stored == "" {
		against = nobodysHash
	}
	cost, salt, want, err := decodeHash(against)
	if err != nil {
		return false, false, err
	}
	if len(password) > maxPassword { // no password that there is: what it costs must not be the sender's to choose
		password = password[:maxPassword]
		stored = ""
	}
	got, err := argon2id(ctx, password, salt, cost, len(want))
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(got, want) == 1 && stored != ""
	return ok, cost != currentCost || len(salt) != argon2Salt || len(want) != argon2Hash, nil
}

// argon2id waits for its turn. The error is Unavailable when the caller gave up before.
func argon2id(ctx context.Context, password string, salt []byte, c argon2Cost, size int) ([]byte, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "too many people sign in at this moment")
	}
	return argon2.IDKey([]byte(password), salt, c.passes, c.memoryKiB, c.lanes, uint32(size)), nil //nolint:gosec // decodeHash bounds it
}

func encodeHash(c argon2Cost, salt, hash []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memoryKiB, c.passes, c.lanes, b64(salt), b64(hash))
}

// decodeHash reads a stored hash. The error repeats nothing of it.
func decodeHash(stored string) (c argon2Cost, salt, hash []byte, err error) {
	fail := func(what string) (argon2Cost, []byte, []byte, error) {
		return argon2Cost{}, nil, nil, fmt.Errorf("cannot read a stored password: %s", what)
	}
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return fail("it is no hash of argon2id")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return fail("it is of another version of argon2")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memoryKiB, &c.passes, &c.lanes); err != nil || n != 3 ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", c.memoryKiB, c.passes, c.lanes) {
		return fail("its parameters are malformed")
	}
	if c.memoryKiB < 8*uint32(c.lanes) || c.passes == 0 || c.lanes == 0 ||
		c.memoryKiB > maxCost.memoryKiB || c.passes > maxCost.passes || c.lanes > maxCost.lanes {
		return fail("its parameters are out of range")
	}
	b64 := base64.RawStdEncoding.Strict()
	if salt, err = b64.DecodeString(parts[4]); err != nil || len(salt) < 8 || len(salt) > 64 {
		return fail("its salt is malformed")
	}
	if hash, err = b64.DecodeString(parts[5]); err != nil || len(hash) < 16 || len(hash) > 64 {
		return fail("its hash is malformed")
	}
	return c, salt, hash, nil
}
