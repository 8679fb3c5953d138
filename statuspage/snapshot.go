package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// snapshotVersion is of the file's format. A file of another version is not read: the databases have it all.
const snapshotVersion = 1

type snapshotFile struct {
	Version int `json:"version"`
	state
}

func (s *Service) snapshotFile() string { return filepath.Join(s.o.Dir, "statuspage.snapshot") }

// readSnapshot returns the stored state, and nil when there is none or it is of another version.
func readSnapshot(file string) (*state, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the status page's snapshot: %w", err)
	}
	var f snapshotFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("cannot decode the status page's snapshot: %w", err)
	}
	if f.Version != snapshotVersion || f.View == nil {
		return nil, nil
	}
	return &f.state, nil
}

// writeSnapshot replaces the stored state: a crash at any moment leaves the old one or the new one whole.
func writeSnapshot(file string, st *state) (err error) {
	b, err := json.Marshal(snapshotFile{snapshotVersion, *st})
	if err != nil {
		return fmt.Errorf("cannot encode the status page's snapshot: %w", err)
	}
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, ".statuspage-*")
	if err != nil {
		return fmt.Errorf("cannot create the status page's snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(b); err != nil {
		return fmt.Errorf("cannot write the status page's snapshot: %w", err)
	}
	if err = tmp.Sync(); err != nil {
		return fmt.Errorf("cannot sync the status page's snapshot: %w", err)
	}
	if err = tmp.Close(); err != nil {
		return fmt.Errorf("cannot close the status page's snapshot: %w", err)
	}
	if err = os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("cannot replace the status page's snapshot: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open the directory of the status page's snapshot: %w", err)
	}
	err = d.Sync() // the rename itself must last
	return errors.Join(err, d.Close())
}
