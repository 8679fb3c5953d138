package slack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	slackgo "github.com/slack-go/slack"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/web/theme"
)

// Slack's bounds, in characters.
const (
	maxHeader  = 150
	maxSection = 3000
	maxName    = 80 // ours, so that a line stays one
)

// Message renders an alert as it stands.
func Message(v *alerting.View) alerting.Rendered {
	blocks := []slackgo.Block{
		slackgo.NewHeaderBlock(slackgo.NewTextBlockObject(slackgo.PlainTextType, cut(v.Title, maxHeader), false, false)),
		section(status(v)),
	}
	if s := facts(v); s != "" {
		blocks = append(blocks, section(s))
	}
	button := slackgo.NewButtonBlockElement("open", "", slackgo.NewTextBlockObject(slackgo.PlainTextType, v.OpenLabel(), false, false))
	button.URL = v.OpenURL
	buttons := []slackgo.BlockElement{button}
	if v.OpenURL != v.URL {
		all := slackgo.NewButtonBlockElement("open_alert", "", slackgo.NewTextBlockObject(slackgo.PlainTextType, "Open alert", false, false))
		all.URL = v.URL
		buttons = append(buttons, all)
	}
	blocks = append(blocks, slackgo.NewActionBlock("", buttons...),
		slackgo.NewContextBlock("", mrkdwn(rule(v))))
	return rendered(v.Text, blocks)
}

// ReplyTo renders an event for the thread.
func ReplyTo(v *alerting.View, r alerting.Reply) alerting.Rendered {
	var plain, marked string
	switch r {
	case alerting.ReplyAcknowledged:
		plain = v.AckedBy + " acknowledged after " + v.AckedAfter + "."
		marked = ":eyes: *" + name(v.AckedBy) + " acknowledged* after " + v.AckedAfter + "."
	case alerting.ReplyResolved:
		plain = v.Text
		marked = ":white_check_mark: *Resolved* " + when(v.At, v.At) + ". It lasted " + v.For + "."
	case alerting.ReplyReopened:
		at := v.At
		if v.ReopenedAt != nil {
			at = *v.ReopenedAt
		}
		plain = "Burns again. " + v.Text
		marked = glyph(v) + " *Burns again* " + when(at, v.At) + ": " + escape(v.Title) + "."
	}
	return rendered(plain, []slackgo.Block{section(marked)})
}

func rendered(text string, blocks []slackgo.Block) alerting.Rendered {
	b, err := json.Marshal(blocks)
	if err != nil {
		panic("BUG: " + err.Error()) // nothing in the blocks can fail to encode
	}
	return alerting.Rendered{Text: text, Blocks: b}
}

// status is the line that says how it stands, whom it asks for what, and since when.
func status(v *alerting.View) string {
	product := ""
	if v.Product != "" {
		product = " · " + escape(v.Product)
	}
	if v.State == alerting.Resolved {
		s := ":white_check_mark: *Resolved* " + when(v.At, v.At) + product + " · began " + when(v.Since, v.At)
		if v.AckedAt != nil {
			s += " · acknowledged by " + name(v.AckedBy) + " after " + v.AckedAfter
		}
		return s
	}
	since := product + " · since *" + when(v.Since, v.At) + "*"
	if v.At.Sub(v.Since) >= time.Second { // just seen, there is no duration to tell
		since += ", " + v.For
	}
	if v.ReopenedAt != nil {
		since += " · again since " + when(*v.ReopenedAt, v.At)
	}
	since += " · as of " + when(v.At, v.At)
	if v.State == alerting.Acknowledged {
		return ":eyes: *Acknowledged* by " + name(v.AckedBy) + " " + when(*v.AckedAt, v.At) + " · " + strings.ToLower(v.SeverityWord()) + since
	}
	return glyph(v) + " *" + v.SeverityWord() + "*" + since
}

func glyph(v *alerting.View) string {
	if v.Severity == alerting.Page {
		return ":octagonal_sign:"
	}
	return ":warning:"
}

// facts are the counts and the worst tenants.
func facts(v *alerting.View) string {
	var lines []string
	switch {
	case v.State == alerting.Resolved && v.Count == 1:
		t := v.Tenants[0]
		return "It cost *" + link(t) + "* " + t.Spent + ", " + t.Budget + ". At its worst it burned " + t.Burn + "."
	case v.State == alerting.Resolved:
		lines = append(lines, "*"+theme.Count(v.Count, "tenant", "tenants")+".* What it cost:")
	case v.Share != "":
		s := "*" + escape(v.Share) + "*"
		if v.Allowed != "" {
			s += "; " + v.Allowed
		}
		lines = append(lines, s+".")
	}
	for _, t := range v.Tenants {
		line := "• *" + link(t) + "*: "
		switch {
		case v.State == alerting.Resolved:
			line += t.Spent + ", " + t.Budget
		case t.Gone == "":
			line += t.Burn + ", " + t.Budget
		default:
			line += t.Burn + ", " + t.Budget + ", " + goneAt(t, v.At)
		}
		lines = append(lines, line)
	}
	if more := v.More(); more > 0 {
		lines = append(lines, fmt.Sprintf("• <%s|%s more>", v.URL, theme.Num(more)))
	}
	return strings.Join(lines, "\n")
}

// rule is the small print.
func rule(v *alerting.View) string {
	var parts []string
	if v.State == alerting.Resolved {
		parts = append(parts, "If it burns again soon, this thread goes on")
	} else if v.Limit != "" {
		parts = append(parts, "Rule: "+v.Limit)
	}
	parts = append(parts, "<"+v.SLOURL+"|SLO>", v.Alert)
	return strings.Join(parts, " · ")
}

// goneAt is the view's Gone with the time in the reader's zone.
func goneAt(t alerting.TenantView, now time.Time) string {
	if t.GoneAt.Sub(now) >= 24*time.Hour {
		return t.Gone
	}
	return "gone about " + when(*t.GoneAt, now)
}

// when is a time that Slack shows in the reader's zone; those who cannot see UTC. Another day is named.
func when(t, now time.Time) string {
	format := "{time}"
	if t.UTC().YearDay() != now.UTC().YearDay() || t.UTC().Year() != now.UTC().Year() {
		format = "{date_short_pretty} {time}"
	}
	return fmt.Sprintf("<!date^%d^%s|%s UTC>", t.Unix(), format, theme.Stamp(t, now))
}

func section(text string) slackgo.Block {
	return slackgo.NewSectionBlock(mrkdwn(cut(text, maxSection)), nil, nil)
}

// mrkdwn is text whose marks Slack follows. It is verbatim: otherwise Slack would make links and mentions of its own out
// of names such as @here or example.com.
func mrkdwn(text string) *slackgo.TextBlockObject {
	return slackgo.NewTextBlockObject(slackgo.MarkdownType, text, false, true)
}

func link(t alerting.TenantView) string {
	if t.URL == "" {
		return name(t.Name)
	}
	return "<" + t.URL + "|" + name(t.Name) + ">"
}

// name is what somebody is called, on one line and without anything that Slack would act on.
func name(s string) string { return escape(cut(s, maxName)) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;",
	"*", "∗", "~", "∼", "`", "ˋ", "|", "¦", "\n", " ", "\r", " ") // marks that would begin a style or end a link

func escape(s string) string { return escaper.Replace(s) }

// cut shortens s to at most n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
