package dashboards

import (
	"strconv"

	"github.com/mileusna/useragent"
)

// browserOf says in a few words which browser a User-Agent is, so that somebody knows theirs: "Firefox 145 on Linux". What is
// no browser it returns as it is.
func browserOf(userAgent string) string {
	if userAgent == "" {
		return "unknown"
	}
	a := useragent.Parse(userAgent)
	if a.Name == "" || a.OS == "" || a.VersionNo.Major == 0 {
		return userAgent
	}
	name, system := a.Name, a.OS
	if name == useragent.HeadlessChrome {
		name = useragent.Chrome
	}
	if a.Device == "iPhone" || a.Device == "iPad" {
		system = a.Device
	}
	return name + " " + strconv.Itoa(a.VersionNo.Major) + " on " + system
}
