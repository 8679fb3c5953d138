package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nexis-limited/headroom/fault"
)

func TestKindOf(t *testing.T) {
	f := func(err error, want fault.Kind) {
		t.Helper()
		if got := fault.KindOf(err); got != want {
			t.Errorf("KindOf(%v) = %v, want %v", err, got, want)
		}
	}
	f(nil, fault.Internal)
	f(errors.New("x"), fault.Internal)
	f(fault.New(fault.NotFound, "x"), fault.NotFound)
	f(fmt.Errorf("cannot do it: %w", fault.New(fault.Conflict, "x")), fault.Conflict)
	f(fault.List{fault.InvalidField("a", "b", "c")}, fault.Invalid)
	if fault.Is(nil, fault.Internal) {
		t.Error("no error is of a kind")
	}
}

func TestPublicKeepsTheCauseInside(t *testing.T) {
	err := fault.Wrap(errors.New("secret"), fault.Unavailable, "later")
	if err.Public() != "later" || err.Error() != "later: secret" {
		t.Errorf("got %q and %q", err.Public(), err.Error())
	}
}

func TestInvalidFieldNamesFieldAndValue(t *testing.T) {
	f := func(field, value, want string) {
		t.Helper()
		if got := fault.InvalidField(field, value, "is wrong").Public(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("from", "yesterday", `from: is wrong (got "yesterday")`)
	f("from", "", `from: is wrong`)
	f("from", "a\nb", `from: is wrong (got "a\nb")`)
	long := fault.InvalidField("from", strings.Repeat("é", 5_000), "is wrong").Public()
	if len(long) > 300 || !utf8.ValidString(long) || !strings.Contains(long, "10000 bytes") {
		t.Errorf("a long value: got %q", long)
	}
}
