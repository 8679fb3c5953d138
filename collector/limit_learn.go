package collector

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// learnRoutes makes the routes that ClickHouse has of the last days known, so that a restart gives no route a second
// time and takes none away. Until ClickHouse answers, routes are new, at the expense of a whole allowance.
func (c *Collector) learnRoutes(ctx context.Context) {
	tick := time.NewTicker(learnWait)
	defer tick.Stop()
	for {
		n, err := c.inserter.routes(ctx, c.limiter.routes.max/2, c.limiter.routes.learn)
		if err == nil {
			c.opts.Logger.Debug("learned the routes of the last days", "routes", n)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const (
	learnWait    = 10 * time.Second
	learnTimeout = time.Minute
)

const routesQuery = `
SELECT DISTINCT product, service, route
FROM latency_1h
WHERE hour >= now() - INTERVAL 7 DAY AND route != 'other'
LIMIT %d
SETTINGS max_threads = 1, max_execution_time = 50
FORMAT RowBinary`

// routes calls each for at most limit routes, whose memory is used again.
func (in *inserter) routes(ctx context.Context, limit int, each func(product, service, route []byte)) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	u := *in.cfg.HTTP
	u.Path, u.RawQuery = "/", url.Values{"database": {in.cfg.Options.Auth.Database}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(fmt.Sprintf(routesQuery, limit)))
	if err != nil {
		return 0, fmt.Errorf("cannot make a query of routes: %w", err)
	}
	req.Header.Set("X-ClickHouse-User", in.cfg.Options.Auth.Username)
	req.Header.Set("X-ClickHouse-Key", in.cfg.Options.Auth.Password)
	resp, err := in.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("cannot read routes: %w", withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if code := resp.Header.Get("X-ClickHouse-Exception-Code"); resp.StatusCode != http.StatusOK || code != "" {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return 0, fmt.Errorf("cannot read routes: %w", &refusedError{resp.StatusCode, code, strings.TrimSpace(string(text))})
	}
	src := bufio.NewReader(resp.Body)
	var row [3][]byte
	for n := 0; ; n++ {
		for i := range row {
			if row[i], err = readText(src, row[i][:0]); err != nil {
				if err == io.EOF && i == 0 { //nolint:errorlint // readText returns it as it is
					return n, nil
				}
				return n, fmt.Errorf("cannot read routes: %w", err)
			}
		}
		each(row[0], row[1], row[2])
	}
}

// readText appends a String of RowBinary to dst; its error is io.EOF when there is none.
func readText(src *bufio.Reader, dst []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(src)
	if err != nil {
		return dst, err
	}
	if n > 1<<20 {
		return dst, fmt.Errorf("a text has %d bytes", n)
	}
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := io.ReadFull(src, dst[at:]); err != nil {
		return dst, io.ErrUnexpectedEOF
	}
	return dst, nil
}
