package collector

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/nexis-limited/headroom/fault"
)

// Prometheus remote-write 1.0 and 2.0 (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/). Which of the two a body is
// stands in its content type. A sender never sends again what got a 4xx, and sends everything again that got a 5xx.

const remoteWritePath = "/api/v1/write"

var (
	remoteWrite1 = &signal{
		name: "remote-write 1.0", path: remoteWritePath, message: "prometheus.WriteRequest", things: "samples",
		decode: (*decoder).writeRequest1,
	}
	remoteWrite2 = &signal{
		name: "remote-write 2.0", path: remoteWritePath + "#2.0", message: "io.prometheus.write.v2.Request", things: "samples", // the same bytes may be a message of both
		decode: (*decoder).writeRequest2,
	}
)

// written is how much of a remote-write request is stored. Exemplars never are.
type written struct{ samples, histograms int }

// remoteWrite serves POST /api/v1/write.
func (c *Collector) remoteWrite(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	metrics.requests[overRemoteWrite].Inc()
	n, a, err := c.serveRemoteWrite(w, r)
	if err != nil {
		e := c.refusalOf(r, err)
		if e.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		if e.wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((e.wait+time.Second-1)/time.Second)))
		}
		http.Error(w, e.message, e.status)
		return
	}
	h := w.Header()
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n.samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(n.histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	metrics.ackSeconds.UpdateDuration(started)
	if a.rejected > 0 { // what is good is stored, and yet the answer to a partial write must not be a 2xx
		http.Error(w, a.message, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *Collector) serveRemoteWrite(w http.ResponseWriter, r *http.Request) (written, answer, error) {
	who, err := c.authenticate(r)
	if err != nil {
		return written{}, answer{}, err
	}
	s, err := remoteWriteVersion(r)
	if err != nil {
		return written{}, answer{}, err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(c.opts.ReadTimeout))
	b, err := c.newBody(who.KeyID)
	defer b.release()
	if err == nil {
		err = b.readSnappy(r)
	}
	if err != nil {
		return written{}, answer{}, err
	}
	metrics.bytes.Add(b.buf.Len())
	var n written
	a, err := b.ingest(request{signal: s, from: who, body: b.buf.Bytes(), written: &n})
	if err == nil && n == (written{}) { // it was written when it came the first time
		n, err = countWritten(s, b.buf.Bytes(), a.rejected)
	}
	return n, a, err
}

// remoteWriteVersion tells by the headers which message a body is.
func remoteWriteVersion(r *http.Request) (*signal, error) {
	switch e := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); e {
	case "snappy", "":
	default:
		return nil, &fault.Error{Kind: fault.Unsupported, Field: "Content-Encoding", Value: e, Message: "is not supported: remote-write is sent as snappy"}
	}
	header := r.Header.Get("Content-Type")
	t, params, err := mime.ParseMediaType(header)
	if header == "" || err == nil && t == typeProtobuf {
		switch params["proto"] {
		case "", remoteWrite1.message:
			return remoteWrite1, nil
		case remoteWrite2.message:
			return remoteWrite2, nil
		}
	}
	return nil, &fault.Error{Kind: fault.Unsupported, Field: "Content-Type", Value: header,
		Message: "is not supported: send " + typeProtobuf + ";proto=" + remoteWrite1.message + " or " + typeProtobuf + ";proto=" + remoteWrite2.message}
}

// maxSnappyRatio is more than the most that snappy compresses: three bytes become at most 64.
const maxSnappyRatio = 22

// readSnappy reads the body of r and uncompresses it, as the snappy block format.
func (b *body) readSnappy(r *http.Request) error {
	if r.ContentLength > int64(b.c.opts.MaxBody) {
		return b.c.tooLarge()
	}
	err := b.unpack(r.Body, r.ContentLength, b.inflateSnappy)
	if f := (*fault.Error)(nil); err == nil || errors.As(err, &f) {
		return err
	}
	return readFault(err, "", "")
}

// inflateSnappy: how large a body becomes stands at its beginning and is checked, and counted, before the memory is taken.
func (b *body) inflateSnappy() error {
	packed := b.packed.Bytes()
	size, err := snappy.DecodedLen(packed)
	if err != nil {
		return notSnappy(err.Error())
	}
	if size > b.c.opts.MaxBody {
		return b.c.tooLarge()
	}
	if size > maxSnappyRatio*(len(packed)+1) {
		return notSnappy("it says that " + itoa(len(packed)) + " bytes become " + itoa(size))
	}
	if err := b.reserve(int64(size)); err != nil {
		return err
	}
	b.buf.Grow(size)
	out, err := snappy.Decode(b.buf.AvailableBuffer()[:size], packed)
	if err != nil {
		return notSnappy(err.Error())
	}
	_, _ = b.buf.Write(out) // in its place already
	return nil
}

func notSnappy(why string) error {
	return fault.New(fault.Invalid, "the body is not in snappy's block format: %s", why)
}

// countWritten returns what of a request that was stored before is written: all but what was refused, of which only the
// number is known.
func countWritten(s *signal, body []byte, rejected int64) (written, error) {
	series, samples, histograms := uint32(1), uint32(2), uint32(4)
	if s == remoteWrite2 {
		series, histograms = 5, 3
	}
	n, err := countFields(body, series, samples)
	if err != nil {
		return written{}, err
	}
	h, err := countFields(body, series, histograms)
	if err != nil {
		return written{}, err
	}
	fromSamples := min(n, rejected)
	return written{int(n - fromSamples), int(max(0, h-(rejected-fromSamples)))}, nil
}

// seriesOwner finds out whose a series is: tenant, product and service by its labels.
func (d *decoder) seriesOwner() {
	m := &d.metric
	m.pointOwner = owner{}
	for _, name := range d.opts.tenantLabels {
		if v := m.labels.get(name); len(v) > 0 {
			m.pointOwner.value = value{kind: valueString, data: v}
			break
		}
	}
	// As OpenTelemetry makes a job of a service: namespace/name.
	product, service, both := bytes.Cut(m.labels.get("job"), []byte("/"))
	if !both {
		product, service = nil, product
	}
	m.from = origin{product: product, service: service}
	if v := m.labels.get("service_namespace"); len(v) > 0 {
		m.from.product = v
	}
	if v := m.labels.get("service_name"); len(v) > 0 {
		m.from.service = v
	}
}
