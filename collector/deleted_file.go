package collector

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// departedState is what a spool's file of deleted tenants says.
type departedState struct {
	ID      string                         `json:"collector"` // of the spool
	Refuses int64                          `json:"refuses"`   // the generation of the table that tenants are from
	Drained int64                          `json:"drained"`   // no segment is left that was begun before this one was known
	Tenants map[tenant.ID]departedFromHere `json:"tenants"`
}

// departedFromHere is a deleted tenant, with when this spool heard of it, by its own clock as the names of segments are.
type departedFromHere struct {
	tenant.Departed
	Applied time.Time `json:"applied"`
}

func (s departedState) clone() departedState {
	s.Tenants = maps.Clone(s.Tenants)
	return s
}

// apply makes the state the table's, and returns who was deleted since.
func (s *departedState) apply(table *tenant.DepartedTable) (gone []tenant.ID) {
	if s.Tenants == nil {
		s.Tenants = make(map[tenant.ID]departedFromHere)
	}
	for id, t := range table.Tenants {
		was, known := s.Tenants[id]
		if !known || was.Deletion != t.Deletion {
			gone = append(gone, id)
			was.Applied = time.Now()
		}
		s.Tenants[id] = departedFromHere{t, was.Applied}
	}
	s.Refuses = table.Generation
	s.Drained = min(s.Drained, s.Refuses) // of a database that was restored from a backup
	return gone
}

// departedFile is the file.
type departedFile struct {
	disk disk
	dir  string
}

func (f departedFile) path() string { return filepath.Join(f.dir, "deleted-tenants") }

// read returns what is in the file; a spool that has none gets its name.
func (f departedFile) read() (s departedState, err error) {
	src, err := f.disk.open(f.path(), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		return departedState{ID: hex.EncodeToString(id[:])}, nil
	}
	if err != nil {
		return s, fmt.Errorf("cannot open %q: %w", f.path(), err)
	}
	defer func() { _ = src.Close() }()
	b, err := io.ReadAll(src)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("cannot read %q: %w", f.path(), err)
	}
	return s, nil
}

func (f departedFile) write(s departedState) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return writeWhole(f.disk, f.path(), append(b, '\n'))
}

// isDrained reports whether nothing is left that was begun before the generation was known.
func (s *spool) isDrained(generation int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable || !s.opened.IsZero() && s.openSeen < generation {
		return false
	}
	for _, q := range s.queue {
		if q.seen < generation {
			return false
		}
	}
	return true
}

// forgetTenant forgets what a tenant may still send.
func (l *limiter) forgetTenant(id tenant.ID) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		if a := s.accounts[id]; a != nil {
			delete(s.accounts, id)
			a.forget()
		}
		s.mu.Unlock()
	}
}
