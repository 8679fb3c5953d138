package slo

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Calendar is a window that begins when the calendar says, as contracts have it: the present month in Berlin. It begins
// anew all Count units from Start on.
type Calendar struct {
	Count    int    `json:"count"`
	Unit     string `json:"unit"`     // "w", "M" or "Q", as OpenSLO writes them
	Start    string `json:"start"`    // the beginning of any period by the clock of the time zone: "2026-01-01 00:00:00"
	TimeZone string `json:"timeZone"` // of the IANA database: "Europe/Berlin"
}

const calendarLayout = "2006-01-02 15:04:05"

// units of calendars: how many days, and how many months, and the most that fit what the rollups keep (95 days).
var calendarUnits = map[string]struct {
	days, months, most int
	word               string
}{
	"w": {days: 7, most: 13, word: "week"},
	"M": {months: 1, most: 3, word: "month"},
	"Q": {months: 3, most: 1, word: "quarter"},
}

// nominal returns the length that burn-rate factors are worked out for: months are 30 days.
func (c *Calendar) nominal() time.Duration {
	u := calendarUnits[c.Unit]
	return time.Duration(c.Count*(u.days+30*u.months)) * day
}

// String returns the window as people say it: "calendar month", "2 calendar weeks".
func (c *Calendar) String() string {
	word := "calendar " + calendarUnits[c.Unit].word
	if c.Count > 1 {
		return strconv.Itoa(c.Count) + " " + word + "s"
	}
	return word
}

// start returns where the calendar's first period begins.
func (c *Calendar) start() (time.Time, error) {
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return time.Time{}, fmt.Errorf("unknown time zone %q", c.TimeZone)
	}
	start, err := time.ParseInLocation(calendarLayout, c.Start, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("start %q is not like 2026-01-01 00:00:00", c.Start)
	}
	return start, nil
}

// period returns the period that t is in: from is in it, to is not. Both are whole minutes in UTC. Where the clock skips the
// beginning, as summer time comes, it is as much earlier as the clock skips.
func (c *Calendar) period(t time.Time) (from, to time.Time) {
	start, err := c.start()
	if err != nil {
		panic("BUG: a calendar that was not checked: " + err.Error())
	}
	u := calendarUnits[c.Unit]
	nth := func(k int) time.Time {
		return start.AddDate(0, k*c.Count*u.months, k*c.Count*u.days).UTC().Truncate(time.Minute)
	}
	// A first guess by the mean length of a period; it is off by one at most for each century or so.
	length := time.Duration(c.Count) * (time.Duration(u.days)*day + time.Duration(u.months)*(365*day+day/4)/12)
	k := int(t.Sub(start) / length)
	for nth(k).After(t) {
		k--
	}
	for !nth(k + 1).After(t) {
		k++
	}
	return nth(k), nth(k + 1)
}

func (c *Calendar) check() error {
	u, ok := calendarUnits[c.Unit]
	if !ok || c.Count < 1 || c.Count > u.most {
		return fmt.Errorf("a calendar of %d%s", c.Count, c.Unit)
	}
	start, err := c.start()
	if err != nil {
		return err
	}
	if u.months > 0 && start.Day() > 28 {
		return fmt.Errorf("start %q is on a day that not every month has", c.Start)
	}
	return nil
}

var calendarPattern = regexp.MustCompile(`^([0-9]{1,2})([wMQ])$`)

// readCalendar reads a timeWindow with a calendar, whose fields f are.
func readCalendar(d *Definition, n node, f map[string]node) bool {
	if f["isRolling"].boolean(false) {
		f["isRolling"].fail("true", "must be false beside calendar: a window either rolls or follows the calendar")
		return false
	}
	duration := n.required(f, "duration", "for example 1M")
	calendar := n.required(f, "calendar", "{startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}")
	cf := calendar.fields("startTime", "timeZone")
	start, zone := calendar.required(cf, "startTime", "the beginning of any period, such as 2026-01-01 00:00:00"),
		calendar.required(cf, "timeZone", "a name of the IANA database, such as Europe/Berlin")
	if !duration.present() || !start.present() || !zone.present() {
		return false
	}
	m := calendarPattern.FindStringSubmatch(duration.str())
	if m == nil {
		duration.fail(duration.str(), "must be weeks, months or a quarter beside calendar, such as 1w, 1M or 1Q")
		return false
	}
	count, _ := strconv.Atoi(m[1])
	c := &Calendar{Count: count, Unit: m[2], Start: start.text(), TimeZone: zone.str()}
	if u := calendarUnits[c.Unit]; count < 1 || count > u.most {
		duration.fail(duration.str(), "must be from 1%[1]s to %[2]d%[1]s", c.Unit, u.most)
		return false
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" || c.TimeZone == "Local" {
		zone.fail(c.TimeZone, "is not a time zone: use a name of the IANA database, such as Europe/Berlin")
		return false
	}
	at, err := c.start()
	switch {
	case err != nil:
		start.fail(c.Start, "must be like 2026-01-01 00:00:00")
		return false
	case at.Second() != 0:
		start.fail(c.Start, "must be a whole minute")
		return false
	case c.check() != nil:
		start.fail(c.Start, "must be on the 1st to 28th: not every month has day %d", at.Day())
		return false
	}
	d.Calendar, d.Window = c, c.nominal()
	return true
}
