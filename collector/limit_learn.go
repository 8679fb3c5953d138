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

	"github.com/nexis-limited/headroom/tenant"
)

// learnNames makes the names that ClickHouse has of the last days known, so that a restart gives no name a second time and
// takes none away. Until ClickHouse answers, names are new, at the expense of a whole allowance.
func (c *Collector) learnNames(ctx context.Context) {
	tick := time.NewTicker(learnWait)
	defer tick.Stop()
	l, n := c.limiter, c.limiter.names
	select {
	case <-l.planned: // or nobody's names were a registered tenant's
	case <-ctx.Done():
		return
	}
	lessons := []lesson{
		{tenantsQuery, func(owner, _, _, _ []byte) { n.learn(formerKeys, n.hash(tenantName, owner)) }},
		{servicesQuery, l.learnService},
		{instancesQuery, func(owner, kind, instance, _ []byte) {
			n.learn(l.ownerOfNames(tenant.ID(viewString(owner)), formerKeys), n.hashWithin(instanceName, [][]byte{kind}, instance))
		}},
		{routesQuery, func(owner, product, service, route []byte) {
			l.learnService(owner, product, service, nil)
			n.learn(l.ownerOfNames(tenant.ID(viewString(owner)), formerKeys), n.hash(routeName, product, service, route))
		}},
	}
	for len(lessons) > 0 {
		rows, err := c.inserter.names(ctx, lessons[0].query, n.known.max/2, lessons[0].each)
		if err == nil {
			c.opts.Logger.Debug("learned names of the last days", "rows", rows)
			lessons = lessons[1:]
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lesson is a query of names, and what is to be done with each row of it.
type lesson struct {
	query string
	each  func(owner, product, service, route []byte)
}

func (l *limiter) learnService(owner, product, service, _ []byte) {
	n, of := l.names, l.ownerOfNames(tenant.ID(viewString(owner)), formerKeys)
	n.learn(of, n.hash(serviceName, product, service))
	n.learn(of, n.hash(productName, product))
}

const (
	learnWait    = 10 * time.Second
	learnTimeout = time.Minute
)

// Some tenant that has a name stands for the one that brought it. Names that only spans have which are neither requests nor
// calls are not among them.
const (
	tenantsQuery = `
SELECT DISTINCT tenant AS owner, '', '', '' FROM (
    SELECT tenant FROM latency_1h WHERE hour >= now() - INTERVAL 7 DAY
    UNION ALL SELECT tenant FROM load_1m WHERE minute >= now() - INTERVAL 1 DAY
    UNION ALL SELECT tenant FROM metric_series WHERE day >= today() - 1)
WHERE owner != ''`
	servicesQuery = `
SELECT any(tenant), product, service, '' FROM (
    SELECT tenant, product, service FROM load_1m WHERE minute >= now() - INTERVAL 1 DAY
    UNION ALL SELECT tenant, product, service FROM metric_series WHERE day >= today() - 1)
GROUP BY product, service`
	routesQuery = `
SELECT any(tenant), product, service, route FROM latency_1h WHERE hour >= now() - INTERVAL 7 DAY AND route != 'other'
GROUP BY product, service, route`
	instancesQuery = `
SELECT any(tenant), system, instance, '' FROM load_1m WHERE minute >= now() - INTERVAL 1 DAY AND instance != 'other'
GROUP BY system, instance`
	namesSettings = `
LIMIT %d
SETTINGS max_threads = 1, max_execution_time = 50
FORMAT RowBinary`
)

// names calls each for at most limit rows of the query, whose memory is used again.
func (in *inserter) names(ctx context.Context, query string, limit int, each func(owner, product, service, route []byte)) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	u := *in.cfg.HTTP
	u.Path, u.RawQuery = "/", url.Values{"database": {in.cfg.Options.Auth.Database}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(query+fmt.Sprintf(namesSettings, limit)))
	if err != nil {
		return 0, fmt.Errorf("cannot make a query of names: %w", err)
	}
	req.Header.Set("X-ClickHouse-User", in.cfg.Options.Auth.Username)
	req.Header.Set("X-ClickHouse-Key", in.cfg.Options.Auth.Password)
	resp, err := in.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("cannot read names: %w", withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if code := resp.Header.Get("X-ClickHouse-Exception-Code"); resp.StatusCode != http.StatusOK || code != "" {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return 0, fmt.Errorf("cannot read names: %w", &refusedError{resp.StatusCode, code, strings.TrimSpace(string(text))})
	}
	src := bufio.NewReader(resp.Body)
	var row [4][]byte
	for n := 0; ; n++ {
		for i := range row {
			if row[i], err = readText(src, row[i][:0]); err != nil {
				if err == io.EOF && i == 0 { //nolint:errorlint // readText returns it as it is
					return n, nil
				}
				return n, fmt.Errorf("cannot read names: %w", err)
			}
		}
		each(row[0], row[1], row[2], row[3])
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
