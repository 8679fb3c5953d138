package tenant

import (
	"context"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/fault"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery staple"
	stored, err := hashPassword(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(stored, secret) {
		t.Errorf("stored: %q", stored)
	}
	if again, _ := hashPassword(t.Context(), secret); again == stored {
		t.Error("two hashes of one password are the same: the salt is not random")
	}
	f := func(password, stored string, wantOK, wantStale bool) {
		t.Helper()
		ok, stale, err := verifyPassword(t.Context(), password, stored)
		if err != nil || ok != wantOK || stale != wantStale {
			t.Errorf("verify %q against %q: got %v, stale %v, %v; want %v, stale %v", password, stored, ok, stale, err, wantOK, wantStale)
		}
	}
	f(secret, stored, true, false)
	f(secret+" ", stored, false, false)
	f("", stored, false, false)
	f("", "", false, false)
	f(secret, "", false, false)
	long := strings.Repeat("x", maxPassword)
	storedLong, _ := hashPassword(t.Context(), long)
	f(long, storedLong, true, false)
	f(long+"x", storedLong, false, false) // not cut to what is stored

	// The example of the reference implementation's tests, with other parameters than ours.
	f("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", true, true)
	f("passwort", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", false, true)
}

func TestPasswordThatWaitsInVain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for { // the turn may be taken all the same when it is free: a select chooses
		if _, err := hashPassword(ctx, "correct horse"); err != nil {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("got %v, want Unavailable", err)
			}
			return
		}
	}
}

func TestStoredPasswordsThatAreNone(t *testing.T) {
	t.Parallel()
	const salt, hash = "c29tZXNhbHRzb21lc2FsdA", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, stored := range []string{
		"plain", "$2y$10$abc", "$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + hash, "$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2$" + salt + "$" + hash, "$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + hash, "$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + hash,
		"$argon2id$v=19$m=7,t=2,p=1$" + salt + "$" + hash, "$argon2id$v=19$m=19456,t=2,p=1 $" + salt + "$" + hash,
		"$argon2id$v=19$m=19456,t=2,p=1$$" + hash, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$", "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$?",
	} {
		ok, _, err := verifyPassword(t.Context(), "password", stored)
		if err == nil || ok || strings.Contains(err.Error(), salt) {
			t.Errorf("verify against %q: got %v, %v; want an error that does not repeat it", stored, ok, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	f := func(password, want string) {
		t.Helper()
		err := checkPassword(password, "Ada.Lovelace@example.com")
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", password, err, want)
		case err != nil && len(password) > 3 && strings.Contains(err.Error(), password):
			t.Errorf("%q: the error repeats it", password)
		}
	}
	f("correct horse", "")
	f("žluťoučký kůň", "")
	f(strings.Repeat("ab", maxPassword/2), "")
	f("", "at least 12")
	f("elevenchars", "at least 12")
	f("žluťoučkýků", "at least 12") // characters, not bytes
	f(strings.Repeat("ab", maxPassword/2)+"a", "at most 256")
	f("aaaaaaaaaaaaa", "again and again")
	f("ada.lovelace@example.com", "must not be the address")
	f("abcdefghijkl\x00", "UTF-8")
	f("abcdefghijkl\xff", "UTF-8")
}
