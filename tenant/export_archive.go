package tenant

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An export is a tar file compressed with zstd. Its files lie in one directory:
//
//	DATABASE/TABLE.00001.ndjson …  the rows, a JSON object a line
//	manifest.json                  what is in it; written after all rows, so an archive without it is incomplete
//	SHA256SUMS                     as sha256sum writes it, the last of all
const (
	// ExportFormat is the version of this format.
	ExportFormat = 1

	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"
)

// maxExportFile is how many bytes make a file of rows: as much is held in memory, because tar wants to know before.
const maxExportFile = 4 << 20

// Manifest says what an export holds.
type Manifest struct {
	Format   int             `json:"format"`
	Tenant   ID              `json:"tenant"`
	At       time.Time       `json:"at"` // PostgreSQL as of this instant, of ClickHouse what it had then of the time before
	Headroom string          `json:"headroom"`
	Tables   []ManifestTable `json:"tables"`
	Notes    []string        `json:"notes"`
}

// ManifestTable is a table of an export.
type ManifestTable struct {
	Database string           `json:"database"`
	Table    string           `json:"table"`
	Rows     int64            `json:"rows"`
	Bytes    int64            `json:"bytes"`
	Columns  []ManifestColumn `json:"columns"`
	LeftOut  []string         `json:"left_out,omitempty"` // columns with secrets or hashes of them, or the operator's own
	Files    []ManifestFile   `json:"files"`
}

// ManifestColumn is a column with its type in the database.
type ManifestColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// ManifestFile is a file of rows.
type ManifestFile struct {
	Path   string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// archive writes an export. It is not safe for concurrent use.
type archive struct {
	manifest Manifest
	dir      string
	zstd     *zstd.Encoder
	tar      *tar.Writer
	sums     strings.Builder

	rows bytes.Buffer // of the file that is next
	n    int64
}

func newArchive(w io.Writer, m Manifest) (*archive, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	dir := fmt.Sprintf("headroom-%s-%s/", SchemaName(m.Tenant), m.At.Format("20060102T150405Z"))
	return &archive{manifest: m, dir: dir, zstd: z, tar: tar.NewWriter(z)}, nil
}

// begin starts a table. The rows that follow are its.
func (a *archive) begin(t ManifestTable) { a.manifest.Tables = append(a.manifest.Tables, t) }

// row adds a row: a JSON object on one line.
func (a *archive) row(line []byte) error {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
		return fmt.Errorf("a row is no JSON object: %.80q", line)
	}
	a.rows.Write(line)
	a.rows.WriteByte('\n')
	a.n++
	if a.rows.Len() < maxExportFile {
		return nil
	}
	return a.flush()
}

// flush writes the rows gathered as a file of the table.
func (a *archive) flush() error {
	if a.n == 0 {
		return nil
	}
	t := &a.manifest.Tables[len(a.manifest.Tables)-1]
	f := ManifestFile{Path: fmt.Sprintf("%s/%s.%05d.ndjson", t.Database, t.Table, len(t.Files)+1), Rows: a.n}
	var err error
	if f.SHA256, err = a.file(f.Path, a.rows.Bytes()); err != nil {
		return err
	}
	f.Bytes = int64(a.rows.Len())
	t.Rows, t.Bytes = t.Rows+f.Rows, t.Bytes+f.Bytes
	t.Files = append(t.Files, f)
	a.rows.Reset()
	a.n = 0
	return nil
}

func (a *archive) file(path string, data []byte) (sum string, err error) {
	err = a.tar.WriteHeader(&tar.Header{Name: a.dir + path, Mode: 0o600, Size: int64(len(data)), ModTime: a.manifest.At, Format: tar.FormatPAX})
	if err == nil {
		_, err = a.tar.Write(data)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write %s: %w", path, err)
	}
	hash := sha256.Sum256(data)
	sum = hex.EncodeToString(hash[:])
	a.sums.WriteString(sum + "  " + path + "\n")
	return sum, nil
}

// close writes the manifest and the sums. Without it the archive is incomplete.
func (a *archive) close() error {
	b, err := json.MarshalIndent(a.manifest, "", "  ")
	if err != nil {
		return err
	}
	if _, err := a.file(manifestName, append(b, '\n')); err != nil {
		return err
	}
	if _, err := a.file(sumsName, []byte(a.sums.String())); err != nil {
		return err
	}
	if err := a.tar.Close(); err != nil {
		return err
	}
	return a.zstd.Close()
}
