package collector

import (
	"math"
	"time"
)

// The forms of resource_points.
const (
	formGauge   = 0
	formRunning = 1
	formDelta   = 2
)

// addResource appends the number to resource_points when the vocabulary says that it is a measure of a resource.
func (d *decoder) addResource(series uint64, p part) {
	m := &d.metric
	if !m.mappings || math.IsNaN(p.number) || math.IsInf(p.number, 0) {
		return
	}
	for _, v := range d.vocabulary.byMetric[string(d.partName(p.suffix))] {
		if d.concerns(v) {
			d.addMeasure(series, p, v)
		}
	}
}

// concerns reports whether the mapping is about the point, by its labels.
func (d *decoder) concerns(v *mapping) bool {
	if v.label == "" {
		return true
	}
	value := d.labelOf(v.label)
	if v.value == "" {
		return len(value) > 0
	}
	return string(value) == v.value
}

func (d *decoder) addMeasure(series uint64, p part, v *mapping) {
	m := &d.metric
	delta := p.kind == deltaSeries || p.kind == upDownDeltaSeries
	form, started := uint8(formGauge), int64(0)
	switch counts := d.vocabulary.counts[v.measure]; {
	case counts && delta:
		form = formDelta
	case counts:
		form, started = formRunning, millis(m.started)
	case delta:
		return // by how much a gauge changed is not what it is
	}
	number := p.number * v.scale
	if v.scale == sinceUnix {
		if p.number <= 0 {
			return // nothing waits
		}
		number = max(0, float64(m.ts)/float64(time.Second)-p.number)
	}
	system := viewBytes(v.system)
	for i := 0; i < len(systemLabels) && len(system) == 0; i++ {
		system = d.labelOf(systemLabels[i])
	}
	kind := v.kind
	if kind == byDatabase {
		kind = databaseKind(system)
	}
	c := &d.cols.metric.resources
	c.ts.Append(millis(m.ts))
	c.product.append(m.product)
	c.tenant.append(m.tenant)
	c.service.append(m.service)
	c.kind.append(viewBytes(kind))
	c.system.append(d.name(system))
	c.instance.append(d.name(d.instance(kind, system)))
	c.measure.append(viewBytes(v.measure))
	c.series.Append(series)
	c.form.Append(form)
	c.started.Append(started)
	c.value.Append(number)
}

// labelOf returns a label of the point, which may be one that it shares; nil when it has none.
func (d *decoder) labelOf(key string) []byte {
	if v := d.metric.labels.get(key); v != nil {
		return v
	}
	return d.metric.shared.get(key)
}

// instance returns which one of its kind the point is about: what its labels say, with the port behind an address that
// has none, else the name of the system.
func (d *decoder) instance(kind string, system []byte) []byte {
	for _, key := range instanceLabels[kind] {
		v := d.labelOf(key)
		if len(v) == 0 {
			continue
		}
		port := portLabels[key]
		if port == "" {
			return v
		}
		if p := d.labelOf(port); len(p) > 0 {
			d.scratch = append(append(append(d.scratch[:0], v...), ':'), p...)
			return d.scratch
		}
		return v
	}
	return system
}
