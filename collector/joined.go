package collector

import "fmt"

// joined is the attributes of a span or resource as they are stored: their keys in one string and their values in
// another, in the same order, with joinBetween between them. Both are UTF-8, in which that byte never occurs. Spans of a
// kind have the same keys, so that the keys are a word of a dictionary; and ClickHouse sorts, compresses and merges two
// strings a span instead of a dozen. The tables' columns attributes and resource turn them into maps again.
type joined struct {
	n      int
	shape  int32  // the keys, unless it is noShape
	keys   []byte // the keys, if it is
	values []byte
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
	d.joinKey(j, key)
	if j.n > 0 {
		j.values = append(j.values, joinBetween)
	}
	j.values = append(j.values, d.text(text)...)
	j.n++
	return nil
}

func (d *decoder) joinKey(j *joined, key []byte) {
	before := j.shape
	if before != noShape {
		if next := d.shapes.expects(before, key); next != 0 {
			j.shape = next
			return
		}
	}
	key = valid(d.name(key))
	if before != noShape {
		if j.shape = d.shapes.extend(before, key); j.shape != noShape {
			return
		}
		j.keys = append(j.keys, d.shapes.text(before)...)
	}
	if j.n > 0 {
		j.keys = append(j.keys, joinBetween)
	}
	j.keys = append(j.keys, key...)
}

// keyAttributes returns the key in the column of the keys of the span's attributes.
func (d *decoder) keyAttributes(c *dictColumn) uint32 {
	j := &d.attributes
	if j.shape == noShape {
		return c.keyOf(j.keys)
	}
	d.shapes.last = j.shape
	return c.keyOfText(d.shapes.text(j.shape))
}

// resourceText returns the resource's attributes as one value. It is to be asked for once.
func (d *decoder) resourceText() []byte {
	j := &d.res.attributes
	if j.n == 0 {
		return nil
	}
	if j.shape != noShape {
		j.keys = append(j.keys, d.shapes.text(j.shape)...)
	}
	j.keys = append(append(j.keys, joinHalves), j.values...)
	return j.keys
}
