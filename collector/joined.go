package collector

import "fmt"

// joined is the attributes of a span or resource as they are stored: their keys in one string and their values in
// another, in the same order, with joinBetween between them. Both are UTF-8, in which that byte never occurs. Spans of a
// kind have the same keys, so that the keys are a word of a dictionary; and ClickHouse sorts, compresses and merges two
// strings a span instead of a dozen. The tables' columns attributes and resource turn them into maps again.
type joined struct {
	keys, values []byte
	n            int
}

const (
	joinBetween = 0xff
	joinHalves  = 0xfe // between keys and values where both are in one string
)

func (j joined) reset() joined { return joined{keys: j.keys[:0], values: j.values[:0]} }

// join adds an attribute, cut to what is kept of it. One without a key, which OTLP does not allow, has no place.
func (d *decoder) join(j *joined, key []byte, v *value) error {
	if j.n == d.opts.maxAttributes || len(key) == 0 {
		d.out.clipped++
		return nil
	}
	text := v.data
	if v.kind != valueString {
		var err error
		if d.scratch, err = v.appendText(d.scratch[:0]); err != nil {
			return fmt.Errorf("cannot read the value of an attribute: %w", err)
		}
		text = d.scratch
	}
	if j.n > 0 {
		j.keys, j.values = append(j.keys, joinBetween), append(j.values, joinBetween)
	}
	j.keys = append(j.keys, valid(d.name(key))...)
	j.values = append(j.values, d.text(text)...)
	j.n++
	return nil
}
