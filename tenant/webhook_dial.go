package tenant

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// notPublic are the networks of IANA's registries of special-purpose addresses that are nobody's on the internet, and those that
// carry an IPv4 address within.
var notPublic = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
		"fec0::/10", "ff00::/8",
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// isPublic reports whether an address is on the internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsValid() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

var errNotPublic = errors.New("the address is not public, see --webhooks-to-private")

// refusePrivate is a net.Dialer's Control: it sees the address that is connected to, whatever a name stood for when somebody looked.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(to.Addr()) {
		return errNotPublic
	}
	return nil
}

// webhookClient follows no redirect, for it may lead elsewhere than whoever made the endpoint said, and asks no proxy, of which only
// the address would be checked.
func webhookClient(allowPrivate bool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout}
	if !allowPrivate {
		dialer.Control = refusePrivate
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    timeout,
			ResponseHeaderTimeout:  timeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
		},
	}
}

const maxWebhookURL = 2000 // bytes

// checkURL reports what is wrong with an endpoint's address.
func (w *Webhooks) checkURL(address string) error {
	wrong := func(format string, args ...any) error { return fault.InvalidField("url", address, format, args...) }
	u, err := url.Parse(address)
	switch {
	case err != nil || len(address) > maxWebhookURL || u.Host == "" || u.Hostname() == "":
		return wrong("must be an address such as https://billing.example.com/headroom, of at most %d bytes", maxWebhookURL)
	case u.User != nil || u.Fragment != "":
		return wrong("must have neither a name and password nor a fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !w.AllowPrivate):
		return wrong("must begin with https://")
	}
	if ip, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && !w.AllowPrivate && !isPublic(ip) {
		return wrong("%v", errNotPublic)
	}
	return nil
}

// plainError says why nobody answered, without the address, which may hold what the receiver takes for a password.
func plainError(err error, timeout time.Duration) string {
	var u *url.Error
	switch {
	case errors.As(err, &u) && u.Timeout():
		return fmt.Sprintf("no answer within %s", timeout)
	case errors.As(err, &u):
		return u.Err.Error()
	}
	return err.Error()
}
