package collector

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever owners bring, there are never more things than may be, and it is the one with most who forgets its first.
func TestSharedForgetsWhatTheGreediestBrought(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 50).Draw(t, "max")
		s := newShared[int, int, int](most)
		want := map[int][]int{} // by owner, the oldest first
		for range 300 {
			owner, k := rapid.IntRange(1, 5).Draw(t, "owner"), rapid.IntRange(1, 100).Draw(t, "thing")
			if rapid.IntRange(0, 20).Draw(t, "expire") == 0 {
				limit := rapid.IntRange(1, 100).Draw(t, "limit")
				s.forgetWhile(func(v int) bool { return v < limit })
				for o, ks := range want {
					for len(ks) > 0 && ks[0] < limit {
						ks = ks[1:]
					}
					want[o] = ks
				}
				continue
			}
			known := false
			total, greediest := 0, 0
			for _, ks := range want {
				known = known || slices.Contains(ks, k)
				total += len(ks)
			}
			if !known {
				want[owner] = append(want[owner], k)
				total++
			}
			for _, ks := range want {
				greediest = max(greediest, len(ks))
			}
			if forgot := s.put(owner, k, k); forgot != (total > most) {
				t.Fatalf("forgot %t with %d of %d things", forgot, total, most)
			}
			if total <= most {
				continue
			}
			for o, ks := range want {
				if _, has := s.things[ks0(ks)]; len(ks) == greediest && !has {
					want[o] = ks[1:]
				}
			}
		}
		n := 0
		for o, ks := range want {
			n += len(ks)
			if of := s.shares[o]; len(ks) > 0 && !slices.Equal(of.keys[of.head:], ks) || len(ks) == 0 && of != nil {
				t.Fatalf("owner %d has another share than %v", o, ks)
			}
		}
		if n != len(s.things) || len(s.most) != len(s.shares) {
			t.Fatalf("%d things, want %d; %d shares of %d owners", len(s.things), n, len(s.most), len(s.shares))
		}
	})
}

func ks0(ks []int) int {
	if len(ks) == 0 {
		return 0
	}
	return ks[0]
}

// A thing that is spared stays, with the share in its order.
func TestSharedSparesWhatIsUsed(t *testing.T) {
	s := newShared[string, int, bool](3)
	s.spare = func(used bool) (bool, bool) { return false, used }
	for k := range 3 {
		s.put("a", k, k == 0)
	}
	s.put("a", 3, true) // 0 is spared, 1 is not
	s.put("a", 4, true) // 2 is not
	for k, want := range []bool{true, false, false, true, true} {
		if _, has := s.things[k]; has != want {
			t.Errorf("thing %d: remembered %t, want %t", k, has, want)
		}
	}
	s.put("a", 5, true) // 3, 0, 4: 0 has been spared once and was not used since
	if _, has := s.things[0]; has {
		t.Error("what is not used stays for ever")
	}
}

func BenchmarkShared(b *testing.B) {
	s := newShared[uint16, hashed, remembered](100_000)
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		s.put(uint16(n%300), digestOf("/", int64(n), nil).hashed(), remembered{})
	}
}
