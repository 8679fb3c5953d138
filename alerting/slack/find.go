package slack

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/nexis-limited/headroom/alerting"
)

// clockSkew is how far Slack's clock may be behind the database's.
const clockSkew = 5 * time.Minute

// historyPage is how many messages one look brings; maxPages bounds the looks.
const (
	historyPage = 200
	maxPages    = 25
)

// find returns where the delivery's message is, by the mark that it carries, and the zero Place when it is not there.
// Without the right to read the channel it cannot know and says not there: better twice than never.
func (n *Notifier) find(ctx context.Context, d alerting.Delivery) (alerting.Place, error) {
	channel, err := n.channelID(ctx, d)
	if err != nil || channel == "" {
		return alerting.Place{}, n.blind(ctx, err)
	}
	oldest := strconv.FormatInt(d.Created.Add(-clockSkew).Unix(), 10)
	cursor := ""
	for range maxPages {
		var messages []slackgo.Message
		if d.Thread.ID != "" {
			messages, _, cursor, err = n.api.GetConversationRepliesContext(ctx, &slackgo.GetConversationRepliesParameters{
				ChannelID: channel, Timestamp: d.Thread.ID, Cursor: cursor, Oldest: oldest, Limit: historyPage, IncludeAllMetadata: true})
		} else {
			var page *slackgo.GetConversationHistoryResponse
			page, err = n.api.GetConversationHistoryContext(ctx, &slackgo.GetConversationHistoryParameters{
				ChannelID: channel, Cursor: cursor, Oldest: oldest, Limit: historyPage, IncludeAllMetadata: true})
			if page != nil {
				messages, cursor = page.Messages, page.ResponseMetaData.NextCursor
			}
		}
		if err != nil {
			return alerting.Place{}, n.blind(ctx, err)
		}
		for i := range messages {
			if m := &messages[i]; m.Metadata.EventType == eventType && m.Metadata.EventPayload["notification"] == d.Key {
				return alerting.Place{Channel: channel, ID: m.Timestamp}, nil
			}
		}
		if cursor == "" {
			break
		}
	}
	return alerting.Place{}, nil
}

// blind lets errors pass that another look could mend, and logs those that say that we may not look.
func (n *Notifier) blind(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var code slackgo.SlackErrorResponse
	if errors.As(err, &code) && code.Err != "ratelimited" && n.failure("read", err).Failure == alerting.Permanent {
		n.log.WarnContext(ctx, "cannot look whether a message was posted before, so it may stand there twice",
			"channel", n.o.Channel, "error", n.redacted("read messages", err))
		return nil
	}
	return err
}

// idPattern matches what Slack calls its channels.
var idPattern = regexp.MustCompile(`^[CGD][A-Z0-9]{6,}$`)

// channelIDs remembers the ids of channels that are configured by name: reading needs an id, posting does not.
type channelIDs struct {
	mu sync.Mutex
	m  map[string]string
}

func (c *channelIDs) learn(channel, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]string{}
	}
	c.m[channel] = id
}

func (c *channelIDs) get(channel string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[channel]
}

// channelID returns the id of the delivery's channel.
func (n *Notifier) channelID(ctx context.Context, d alerting.Delivery) (string, error) {
	switch {
	case d.Thread.Channel != "":
		return d.Thread.Channel, nil
	case idPattern.MatchString(n.o.Channel):
		return n.o.Channel, nil
	}
	if id := n.ids.get(n.o.Channel); id != "" {
		return id, nil
	}
	name, cursor := strings.TrimPrefix(n.o.Channel, "#"), ""
	for range maxPages {
		channels, next, err := n.api.GetConversationsContext(ctx, &slackgo.GetConversationsParameters{
			Cursor: cursor, Limit: historyPage, ExcludeArchived: true, Types: []string{"public_channel", "private_channel"}})
		if err != nil {
			return "", fmt.Errorf("cannot look up the channel's id: %w", err)
		}
		for i := range channels {
			if channels[i].Name == name {
				n.ids.learn(n.o.Channel, channels[i].ID)
				return channels[i].ID, nil
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return "", nil
}
