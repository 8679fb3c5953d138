package dashboards

import (
	"regexp"
	"strings"
)

// browserNames are tried in order: browsers also name those whose pages they want to be given.
var browserNames = []struct{ token, name string }{
	{"Edg", "Edge"}, {"OPR", "Opera"}, {"Firefox", "Firefox"}, {"FxiOS", "Firefox"}, {"HeadlessChrome", "Chrome"}, {"CriOS", "Chrome"},
	{"Chrome", "Chrome"}, {"Version", "Safari"},
}

// systemNames are tried in order, for the same reason.
var systemNames = []struct{ token, name string }{
	{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
}

var userAgentVersion = regexp.MustCompile(`^[A-Za-z]*/(\d+)`)

// browserOf says in a few words which browser a User-Agent is, so that somebody knows theirs: "Firefox 145 on Linux". What it
// does not know it returns as it is.
func browserOf(userAgent string) string {
	if userAgent == "" {
		return "unknown"
	}
	words := ""
	for _, b := range browserNames {
		i := strings.Index(userAgent, b.token)
		if i < 0 || b.name == "Safari" && !strings.Contains(userAgent, "Safari/") {
			continue
		}
		if m := userAgentVersion.FindStringSubmatch(userAgent[i:]); m != nil {
			words = b.name + " " + m[1]
			break
		}
	}
	if words == "" {
		return userAgent
	}
	for _, s := range systemNames {
		if strings.Contains(userAgent, s.token) {
			return words + " on " + s.name
		}
	}
	return words
}
