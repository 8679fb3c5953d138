package web

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted, err := ParseProxies([]string{"10.0.0.0/8", "192.0.2.7", "fd00::/8", ""})
	if err != nil {
		t.Fatal(err)
	}
	f := func(remote string, forwarded []string, want string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"] = forwarded
		var got tenant.Origin
		TellOrigin(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = tenant.OriginFrom(r.Context())
		})).ServeHTTP(httptest.NewRecorder(), r)
		if s := got.Address.String(); s != want {
			t.Errorf("%s %v: got %s, want %s", remote, forwarded, s, want)
		}
	}
	f("198.51.100.9:4711", nil, "198.51.100.9")
	f("198.51.100.9:4711", []string{"203.0.113.1"}, "198.51.100.9") // a stranger is not believed
	f("10.1.2.3:80", nil, "10.1.2.3")
	f("10.1.2.3:80", []string{"203.0.113.1"}, "203.0.113.1")
	f("10.1.2.3:80", []string{"8.8.8.8, 203.0.113.1"}, "203.0.113.1") // what the client wrote itself
	f("10.1.2.3:80", []string{"8.8.8.8", "203.0.113.1, 192.0.2.7"}, "203.0.113.1")
	f("10.1.2.3:80", []string{"10.9.9.9"}, "10.9.9.9")
	f("10.1.2.3:80", []string{"nonsense, 192.0.2.7"}, "192.0.2.7")
	f("10.1.2.3:80", []string{"203.0.113.1:55555"}, "203.0.113.1")
	f("10.1.2.3:80", []string{"[2001:db8::1]:443"}, "2001:db8::1")
	f("[::ffff:10.1.2.3]:80", []string{"2001:db8::1"}, "2001:db8::1")
	f("[fd00::1%eth0]:80", []string{"::ffff:203.0.113.1"}, "203.0.113.1")
	f("@", []string{"203.0.113.1"}, "invalid IP")
	if _, err := ParseProxies([]string{"10.0.0.0/99"}); err == nil {
		t.Error("a network that is none was taken")
	}
}
