package theme

import (
	"bytes"
	"html/template"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// plain makes narrow spaces visible as ordinary ones, to keep the tables below legible.
func plain(s string) string { return strings.ReplaceAll(s, NarrowSpace, " ") }

func TestNumbers(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if plain(got) != want {
			t.Errorf("got %q, want %q", plain(got), want)
		}
	}
	f(Num(0), "0")
	f(Num(999), "999")
	f(Num(3412), "3,412")
	f(Num(-1_234_567), "−1,234,567")
	f(Num(uint64(1_000_000)), "1,000,000")
	f(Num(uint64(math.MaxUint64)), "18446744073709551615")
	f(Num(6.66), "6.7")
	f(Num(1631.4), "1,631")
	f(Num("x"), "x")

	f(Ratio(0.086), "8.6 %")
	f(Ratio(0.0096), "0.96 %")
	f(Ratio(0.59), "59 %")
	f(Ratio(0.09949), "9.9 %")
	f(Ratio(0.0995), "10 %")
	f(Ratio(0), "0 %")
	f(Ratio(0.00001), "<0.01 %")
	f(Ratio(1), "100 %")
	f(Pct(math.NaN()), "no data")

	f(Availability(0.9997649), "99.976 %")
	f(Availability(0.99976), "99.976 %")
	f(Availability(0.9999999), "99.999 %")
	f(Availability(1), "100 %")

	f(Budget(0.591), "59 %")
	f(Budget(1), "100 %")
	f(Budget(0.9999), "99 %")
	f(Budget(0.004), "<1 %")
	f(Budget(0), "0 %")
	f(Budget(-0.06), "−6 %")
	f(Budget(-40), "below −999 %")
	f(Overspent(-0.06), "6 %")
	f(Overspent(-0.0001), "1 %")
	f(Overspent(-40), "more than 999 %")

	f(Burn(106.2), "106×")
	f(Burn(9.44), "9.4×")
	f(Burn(9.96), "10×")
	f(Burn(0), "0.0×")
	f(Burn(12_000), ">9,999×")

	f(Millis(212*time.Millisecond), "212 ms")
	f(Millis(1460*time.Millisecond), "1.46 s")
	f(Millis(12_340.0), "12.3 s")
	f(Millis(0.42), "0.42 ms")
	f(Millis(2.13), "2.1 ms")
	f(Millis(999.7), "1.00 s")
	f(Millis(0.0), "0 ms")
	f(Millis(130_000.0), "2 min 10 s")

	f(Count(1, "tenant", "tenants"), "1 tenant")
	f(Count(3412, "tenant", "tenants"), "3,412 tenants")
}

func TestTimes(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if plain(got) != want {
			t.Errorf("got %q, want %q", plain(got), want)
		}
	}
	f(Duration(0), "0 ms")
	f(Duration(6*time.Second+999*time.Millisecond), "6 s")
	f(Duration(4*time.Minute+50*time.Second), "4 min 50 s")
	f(Duration(38*time.Minute+40*time.Second), "38 min")
	f(Duration(34*time.Hour+42*time.Minute), "34 h 42 min")
	f(Duration(74*time.Hour), "3 d 2 h")
	f(Duration(30*24*time.Hour), "30 d")

	now := time.Date(2026, 11, 24, 9, 52, 0, 0, time.UTC)
	f(Ago(now.Add(-6*time.Second), now), "6 s ago")
	f(Ago(now, now), "just now")
	f(Ago(now.Add(5*time.Minute), now), "in 5 min")
	f(Clock(time.Date(2026, 11, 24, 10, 14, 0, 0, time.FixedZone("CET", 3600))), "09:14")
	f(Stamp(now.Add(-time.Hour), now), "08:52")
	f(Stamp(now.Add(-24*time.Hour), now), "23 Nov, 09:52")
	f(Stamp(now.AddDate(-1, 0, 0), now), "24 Nov 2025, 09:52")
	f(Day(now), "24 Nov 2026")
	f(ISO(now), "2026-11-24T09:52:00Z")
}

func TestGlyphsAndIconsExistInSprite(t *testing.T) {
	for _, g := range []string{"page", "major", "partial", "ticket", "watching", "fine", "planned", "nodata", "acked", "neighbour"} {
		if !strings.Contains(sprite, `id="g-`+g+`"`) {
			t.Errorf("the sprite has no glyph %q", g)
		}
	}
	if strings.Contains(sprite, "style=") {
		t.Error("the sprite has an inline style, which the policy forbids")
	}
}

func TestGlyphEscapes(t *testing.T) {
	got := string(Glyph("page", `a "b" <c>`))
	if strings.Contains(got, "<c>") || !strings.Contains(got, `role="img"`) {
		t.Errorf("Glyph = %s", got)
	}
	if got := string(Glyph("page", "")); !strings.Contains(got, `aria-hidden="true"`) {
		t.Errorf("Glyph without a label = %s", got)
	}
}

func TestFuncsInTemplate(t *testing.T) {
	tpl := template.Must(template.New("").Funcs(Funcs()).Parse(`{{with dict "a" 1234}}{{num .a}}{{end}} {{glyph "fine" "Fine" "small"}} {{icon "bell"}}`))
	var b bytes.Buffer
	if err := tpl.Execute(&b, nil); err != nil {
		t.Fatal(err)
	}
	if want := `1,234 <svg class="g good small" role="img" aria-label="Fine"><use href="#g-fine"/></svg>`; !strings.HasPrefix(b.String(), want) {
		t.Errorf("got %s", b.String())
	}
	if _, err := dict("a"); err == nil {
		t.Error("dict with an odd count gave no error")
	}
	if _, err := dict(1, 2); err == nil {
		t.Error("dict with a name that is no string gave no error")
	}
}

// Every custom property that is used must be defined, or the part silently loses its colour.
func TestTokensAreDefined(t *testing.T) {
	used := regexp.MustCompile(`var\((--[a-z0-9-]+)`).FindAllStringSubmatch(string(CSS), -1)
	for _, m := range used {
		if m[1] != "--cut" && !bytes.Contains(CSS, []byte(m[1]+":")) {
			t.Errorf("%s is used and not defined", m[1])
		}
	}
}
