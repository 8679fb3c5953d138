package collector

import "container/heap"

// shared remembers at most max things, which owners bring. When there are more, the owner that has most forgets what it
// brought first: so a flood of one owner makes nobody but itself forget. It is not safe for concurrent use.
type shared[O, K comparable, V any] struct {
	max    int
	things map[K]V
	shares map[O]*share[O, K]
	most   bySize[O, K] // a heap of the same: whoever has most is its first

	// spare, if there is one, says whether a thing whose turn it is stays, as what value, as if it was brought just now. It
	// must not do so for ever.
	spare func(V) (V, bool)
}

// share is what one owner has brought: keys from head on, the oldest first.
type share[O, K comparable] struct {
	owner O
	keys  []K
	head  int
	place int // in the heap
}

func (s *share[O, K]) len() int { return len(s.keys) - s.head }

func newShared[O, K comparable, V any](max int) *shared[O, K, V] {
	return &shared[O, K, V]{max: max, things: make(map[K]V), shares: make(map[O]*share[O, K])}
}

// put remembers a thing. One that is there stays whose it is, with the new value. It reports whether another had to go.
func (s *shared[O, K, V]) put(owner O, k K, v V) (forgot bool) {
	_, has := s.things[k]
	s.things[k] = v
	if has {
		return false
	}
	of := s.shares[owner]
	if of == nil {
		of = &share[O, K]{owner: owner}
		s.shares[owner] = of
		heap.Push(&s.most, of)
	}
	of.keys = append(of.keys, k)
	heap.Fix(&s.most, of.place)
	if len(s.things) <= s.max {
		return false
	}
	s.forgetFirst()
	return true
}

// forgetFirst makes the owner that has most forget one thing.
func (s *shared[O, K, V]) forgetFirst() {
	of := s.most[0]
	for {
		k := of.keys[of.head]
		v := s.things[k]
		if s.spare != nil {
			if v, stays := s.spare(v); stays {
				of.pop()
				of.keys = append(of.keys, k)
				s.things[k] = v
				continue
			}
		}
		s.drop(of)
		return
	}
}

// forgetWhile makes every owner forget its first things as long as they are old.
func (s *shared[O, K, V]) forgetWhile(old func(V) bool) {
	for _, of := range s.shares {
		for of.len() > 0 && old(s.things[of.keys[of.head]]) {
			s.drop(of)
		}
	}
}

// drop forgets the first thing of a share, and the share with its last.
func (s *shared[O, K, V]) drop(of *share[O, K]) {
	delete(s.things, of.pop())
	if of.len() == 0 {
		heap.Remove(&s.most, of.place)
		delete(s.shares, of.owner)
		return
	}
	heap.Fix(&s.most, of.place)
}

func (s *share[O, K]) pop() K {
	k := s.keys[s.head]
	if s.head++; s.head > 16 && s.head*2 > len(s.keys) {
		s.keys = append(s.keys[:0], s.keys[s.head:]...)
		s.head = 0
	}
	return k
}

// bySize is a heap.Interface.
type bySize[O, K comparable] []*share[O, K]

func (h bySize[O, K]) Len() int           { return len(h) }
func (h bySize[O, K]) Less(i, j int) bool { return h[i].len() > h[j].len() }
func (h bySize[O, K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is heap.Interface's.
func (h *bySize[O, K]) Push(x any) {
	s := x.(*share[O, K]) //nolint:errcheck,forcetypeassert // of put
	s.place = len(*h)
	*h = append(*h, s)
}

// Pop is heap.Interface's.
func (h *bySize[O, K]) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
