package collector

import "strings"

// shapes are the sequences of attribute keys that a decoder has met, a tree: each key leads to a longer sequence. Spans of
// a kind have the same keys, so that most attributes cost a comparison with the key that came here the last time: it need
// not be checked, copied or hashed again. The sequences are numbered; 0 is the empty one.
type shapes struct {
	all   []shape
	index map[step]int32
	last  int32 // that of the last span
	size  int   // about how many bytes all of it is
	left  int   // how many the request may still add
}

type shape struct {
	from int32  // the sequence without its last key
	key  string // the last key, as it is stored
	n    int    // how many keys there are
	text string // all of them, joined, once somebody has asked for them

	next  int32 // the sequence with one more key that was met the last time, 0 for none
	after int32 // the sequence of one key that the span began with which came after one of this shape
}

type step struct {
	from int32
	key  string
}

// Who makes up keys cannot make others, or memory, pay for it: what is not remembered is joined for each span.
const (
	maxShapes    = 1 << 20 // bytes
	maxNewShapes = 64      // of a request
	shapeSize    = 200     // about what a sequence needs, texts apart
)

// noShape is the number of a sequence that is not remembered.
const noShape = -1

// begin starts a request. The numbers of the one before may be forgotten.
func (s *shapes) begin() {
	if s.index == nil || s.size > maxShapes {
		*s = shapes{all: make([]shape, 1), index: map[step]int32{}}
	}
	s.left = maxNewShapes
}

// guess returns where the sequence stands that is likely to come next.
func (s *shapes) guess(from int32) *int32 {
	if from == 0 {
		return &s.all[s.last].after
	}
	return &s.all[from].next
}

// expects returns the sequence with one more key if it was the last one to follow, else 0.
func (s *shapes) expects(from int32, key []byte) int32 {
	if at := *s.guess(from); s.all[at].key == string(key) {
		return at
	}
	return 0
}

// extend returns the sequence with one more key, which is as it is stored, or noShape.
func (s *shapes) extend(from int32, key []byte) int32 {
	at, ok := s.index[step{from, viewString(key)}]
	if !ok {
		if s.left == 0 {
			return noShape
		}
		s.left--
		at = int32(len(s.all))
		added := shape{from: from, key: string(key), n: s.all[from].n + 1}
		s.all = append(s.all, added)
		s.index[step{from, added.key}] = at
		s.size += shapeSize + len(key)
	}
	*s.guess(from) = at
	return at
}

// text returns the keys of the sequence, joined.
func (s *shapes) text(at int32) string {
	sh := &s.all[at]
	if sh.text == "" {
		keys := make([]string, sh.n)
		for i := at; i > 0; i = s.all[i].from {
			keys[s.all[i].n-1] = s.all[i].key
		}
		sh.text = strings.Join(keys, string([]byte{joinBetween}))
		s.size += len(sh.text)
	}
	return sh.text
}
