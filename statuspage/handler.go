package statuspage

import (
	"net/http"
	"strings"
)

// csp lets a page have our styles and pictures and nothing else: no script, no form, no frame, nothing inline.
const csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// secure are the headers of every response. Their slices are shared by all responses and never changed.
var secure = http.Header{
	"Content-Security-Policy": {csp},
	"X-Content-Type-Options":  {"nosniff"},
	"Referrer-Policy":         {"same-origin"},
	"Permissions-Policy":      {"camera=(), geolocation=(), microphone=()"},
	"Vary":                    {"Accept-Encoding"},
}

var gzipEncoding = []string{"gzip"}

// serve looks a path up and writes what it finds. It reads nothing but the path, the method and two headers, so that a
// flood costs little.
func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for k, v := range secure {
		h[k] = v
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		if strings.HasPrefix(r.URL.Path, "/api/v2/") {
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
			h.Set("Access-Control-Allow-Headers", "If-None-Match, Accept, Content-Type")
			h.Set("Access-Control-Max-Age", "86400")
		}
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	site := s.site.Load()
	if site == nil {
		h.Set("Retry-After", "5")
		h.Set("Cache-Control", "no-store")
		http.Error(w, "The status page is starting. Please try again in a few seconds.", http.StatusServiceUnavailable)
		return
	}
	p := site.pages[r.URL.Path]
	if p == nil {
		if short := strings.TrimRight(r.URL.Path, "/"); short != r.URL.Path && site.pages[short] != nil {
			http.Redirect(w, r, short, http.StatusPermanentRedirect)
			return
		}
		writePage(w, r, site.lost, http.StatusNotFound)
		return
	}
	writePage(w, r, p, http.StatusOK)
}

func writePage(w http.ResponseWriter, r *http.Request, p *page, status int) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = p.contentType, p.cacheControl
	if p.cors != nil {
		h["Access-Control-Allow-Origin"] = p.cors
		h["Access-Control-Expose-Headers"] = exposed
	}
	body, length, etag := p.body, p.length, p.etags
	zipped := p.gzip != nil && acceptsGzip(r.Header.Get("Accept-Encoding"))
	if zipped {
		body, length, etag = p.gzip, p.gzipLength, p.gzipEtags
	}
	if status == http.StatusOK {
		h["Etag"] = etag
		if match := r.Header.Get("If-None-Match"); match != "" && matches(match, etag[0]) {
			delete(h, "Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if zipped {
		h["Content-Encoding"] = gzipEncoding
	}
	h["Content-Length"] = length
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the reader left; nobody is there to tell
	}
}

var exposed = []string{"ETag"}

// matches reports whether an If-None-Match names the tag. The comparison is the weak one, as RFC 9110 asks for reads.
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}

// acceptsGzip reports whether an Accept-Encoding allows gzip.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		q = strings.ReplaceAll(q, " ", "")
		return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
	}
	return false
}
