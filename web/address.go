package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// maxForwarded bounds how many addresses of X-Forwarded-For are looked at: nobody has more proxies.
const maxForwarded = 20

// ParseProxies reads the networks of our own reverse proxies, such as 10.0.0.0/8 or 192.0.2.7; empty ones are skipped.
func ParseProxies(networks []string) ([]netip.Prefix, error) {
	var trusted []netip.Prefix
	for _, s := range networks {
		if s = strings.TrimSpace(s); s == "" { // an environment variable that is set to nothing
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fault.InvalidField("network", s, "must be an address or a network such as 10.0.0.0/8")
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		trusted = append(trusted, p.Masked())
	}
	return trusted, nil
}

// TellOrigin puts where each request comes from into its context, for the audit log and for limits. Only our own proxies are
// believed when they say whom they speak for.
func TellOrigin(trusted []netip.Prefix) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o := tenant.Origin{Address: clientAddress(r, trusted), UserAgent: r.UserAgent()}
			next.ServeHTTP(w, r.WithContext(tenant.WithOrigin(r.Context(), o)))
		})
	}
}

// clientAddress returns the address of who made a request. Each proxy appends whom it heard, so the list is read from its
// end for as long as those who wrote it are ours: what stands before may be anybody's invention.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := plainAddr(from.Addr())
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= max(0, len(list)-maxForwarded) && isTrusted(client, trusted); i-- {
		said, err := parseForwarded(strings.TrimSpace(list[i]))
		if err != nil {
			break
		}
		client = said
	}
	return client
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseForwarded reads an address, with or without a port: some proxies add it.
func parseForwarded(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return plainAddr(a), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot read address %q: %w", s, err)
	}
	return plainAddr(a.Addr()), nil
}

// plainAddr writes an address in the one way that networks and the database compare.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
