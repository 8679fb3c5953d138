package harness

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Metrics returns the samples of the internal listener's /metrics by name with labels, as they stand there.
func (h *Headroom) Metrics(ctx context.Context) (map[string]float64, error) {
	a, err := Get(ctx, h.Internal+"/metrics")
	if err != nil {
		return nil, err
	}
	samples := map[string]float64{}
	for line := range strings.Lines(string(a.Body)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[cut+1:], 64)
		if cut < 0 || err != nil {
			return nil, fmt.Errorf("/metrics: cannot read the line %q", line)
		}
		samples[line[:cut]] = v
	}
	return samples, nil
}
