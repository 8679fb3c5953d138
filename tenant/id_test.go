package tenant

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nexis-limited/headroom/fault"
)

func TestParseID(t *testing.T) {
	ok := func(s string) {
		t.Helper()
		id, err := ParseID(s)
		if err != nil || string(id) != s {
			t.Errorf("ParseID(%q) = %q, %v; want it as it is", s, id, err)
		}
	}
	refused := func(s, why string) {
		t.Helper()
		_, err := ParseID(s)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "tenant.id") || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseID(%.40q): got error %v, want one of tenant.id that says %q", s, err, why)
		}
	}
	ok("")
	ok("acme")
	ok("Møssgrove Foods/7")
	ok("\uFFFD") // the replacement character itself is valid UTF-8
	ok(strings.Repeat("x", MaxIDLen))
	refused(strings.Repeat("x", MaxIDLen+1), "longer than 128 bytes")
	refused(strings.Repeat("x", 10_000), "10000 bytes")
	refused("a\x00b", "control character at byte 1")
	refused("line\nbreak", "control character at byte 4")
	refused("a\x7f", "control character")
	refused("a\xff", "not valid UTF-8")
}

func FuzzParseID(f *testing.F) {
	f.Add("acme")
	f.Add("a\xff")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		good := len(s) <= MaxIDLen && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		if good != (err == nil) {
			t.Errorf("ParseID(%q) = %q, %v", s, id, err)
		}
	})
}
