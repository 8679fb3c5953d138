package slack_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
)

func TestPreview(t *testing.T) {
	v := alerting.NewView(alert(member("evil", 16, 0.75, 193*time.Minute)), names, "https://headroom.example")
	blocks, err := slack.Preview(slack.Message(v).Blocks)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, b := range blocks {
		kinds = append(kinds, b.Kind)
	}
	if want := []string{"header", "text", "text", "buttons", "context"}; !reflect.DeepEqual(kinds, want) {
		t.Fatalf("kinds %v, want %v", kinds, want)
	}
	first := blocks[1].Lines[0]
	if first[0].Glyph != "page" || !first[2].Bold || first[2].Text != "Page" || first[4].Text != "09:14 UTC" || !first[4].Time.Equal(began) || !first[4].Bold {
		t.Errorf("status: %+v", first)
	}
	line := blocks[2].Lines[1]
	if line[1].URL != "https://headroom.example/tenants/evil" || line[1].Text != "∗Bold∗ <!channel> & ˋSonsˋ ¦ ∼x∼" || !line[1].Bold {
		t.Errorf("tenant: %+v", line)
	}
	if b := blocks[3].Buttons; len(b) != 2 || b[0].Label != "Open tenant" || b[1].URL != "https://headroom.example/alerts/a-7f3kq2" {
		t.Errorf("buttons: %+v", b)
	}
}

// Whatever is in the blocks, no address but of the web becomes a link, and nothing panics.
func FuzzPreview(f *testing.F) {
	f.Add("<javascript:alert(1)|x> *a* `b` :eyes: <!date^12^{time}|t> &lt;")
	f.Add("<!date^|>")
	f.Add("**<|>``::")
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := slack.Preview(json.RawMessage(`[{"type":"section","text":{"type":"mrkdwn","text":` + string(text) + `}},
			{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"url":` + string(text) + `}]}]`))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			for _, l := range b.Lines {
				for _, span := range l {
					if span.URL != "" && !strings.HasPrefix(span.URL, "http") {
						t.Errorf("%q became a link to %q", s, span.URL)
					}
				}
			}
			for _, btn := range b.Buttons {
				if btn.URL != "" && !strings.HasPrefix(btn.URL, "http") {
					t.Errorf("%q became a button to %q", s, btn.URL)
				}
			}
		}
		_, _ = slack.Preview(json.RawMessage(s)) // may fail, must not panic
	})
}
