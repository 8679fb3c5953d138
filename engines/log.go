package engines

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// logMark is a place in an engine's log: what follows it is of one run.
type logMark struct {
	path   string
	offset int64
}

// openLog opens the file for appending and first sets it aside when it has grown: one older file is kept.
func openLog(path string) (*os.File, logMark, error) {
	mark := logMark{path: path}
	if st, err := os.Stat(path); err == nil {
		mark.offset = st.Size()
	}
	if mark.offset > 4<<20 {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, mark, fmt.Errorf("cannot rotate %q: %w", path, err)
		}
		mark.offset = 0
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, mark, fmt.Errorf("cannot open log %q: %w", path, err)
	}
	return f, mark, nil
}

// String returns the last lines since the mark, for an error message.
func (m logMark) String() string {
	f, err := os.Open(m.path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		_, _ = f.Seek(max(m.offset, st.Size()-2000), io.SeekStart)
	}
	b, _ := io.ReadAll(f)
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return fmt.Sprintf("the end of %s:\n%s", m.path, strings.Join(lines[max(0, len(lines)-8):], "\n"))
}
