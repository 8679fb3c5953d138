package statuspage

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
)

// page is one resource, ready to be written. It is immutable.
type page struct {
	body, gzip []byte // gzip is nil where it would not be smaller
	etag       string // strong, of the plain body; the compressed one has its own

	// Header values as net/http keeps them, so that serving allocates nothing for them.
	contentType, cacheControl, cors []string
	length, gzipLength              []string
	etags, gzipEtags                []string
}

// site is everything that is served, by path. It is immutable.
type site struct {
	pages map[string]*page
	lost  *page // 404
}

// Cache-Control of what changes. A cache in front may serve what it has while we are away.
const cacheLive = "public, max-age=5, stale-while-revalidate=30, stale-if-error=86400"

// cacheFixed is for what has its digest in its path.
const cacheFixed = "public, max-age=31536000, immutable"

func newPage(contentType, cache string, cors bool, body []byte) (*page, error) {
	sum := sha256.Sum256(body)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	p := &page{body: body, etag: `"` + tag + `"`, contentType: []string{contentType}, cacheControl: []string{cache}}
	p.length, p.etags = []string{strconv.Itoa(len(body))}, []string{p.etag}
	if cors {
		p.cors = []string{"*"}
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("cannot compress a page: %w", err)
	}
	if _, err := z.Write(body); err != nil {
		return nil, fmt.Errorf("cannot compress a page: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress a page: %w", err)
	}
	if b.Len() < len(body) {
		p.gzip = b.Bytes()
		p.gzipLength, p.gzipEtags = []string{strconv.Itoa(b.Len())}, []string{`"` + tag + `.gz"`}
	}
	return p, nil
}

// siteBuilder makes a site. Pages that came out as before are taken from the site before, compressed as they are.
type siteBuilder struct {
	site *site
	last *site
	err  error
}

func (b *siteBuilder) add(path, contentType, cache string, cors bool, body []byte) {
	if b.err != nil {
		return
	}
	if b.last != nil {
		if p := b.last.pages[path]; p != nil && bytes.Equal(p.body, body) && p.contentType[0] == contentType {
			b.site.pages[path] = p
			return
		}
	}
	p, err := newPage(contentType, cache, cors, body)
	if err != nil {
		b.err = fmt.Errorf("cannot make page %q: %w", path, err)
		return
	}
	b.site.pages[path] = p
}
