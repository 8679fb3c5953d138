package tenant

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxManifest bounds what is read into memory of an archive that somebody made.
const maxManifest = 64 << 20

// VerifyExport reads an export to its end and checks it: that it is complete, that every file is the one that was written, and that
// the rows are as many as its manifest says.
func VerifyExport(r io.Reader) (Manifest, error) {
	var m Manifest
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return m, fmt.Errorf("cannot read the export: %w", err)
	}
	defer z.Close()
	found := make(map[string]ManifestFile)
	var sums []byte
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return m, fmt.Errorf("the export is damaged or incomplete: %w", err)
		}
		_, path, _ := strings.Cut(h.Name, "/")
		if sums != nil || found[path].SHA256 != "" {
			return m, fmt.Errorf("the export is damaged: %q is not expected", h.Name)
		}
		f, data, err := readExported(t, path)
		if err != nil {
			return m, fmt.Errorf("the export is damaged or incomplete: cannot read %q: %w", h.Name, err)
		}
		switch path {
		case sumsName:
			sums = data
			continue
		case manifestName:
			if err := json.Unmarshal(data, &m); err != nil {
				return m, fmt.Errorf("the export's manifest cannot be read: %w", err)
			}
		}
		found[path] = f
	}
	if m.Format == 0 || sums == nil {
		return m, errors.New("the export is incomplete: it has no manifest, or no checksums")
	}
	if m.Format != ExportFormat {
		return m, fmt.Errorf("the export has format %d, which this version does not know", m.Format)
	}
	for line := range strings.Lines(string(sums)) {
		sum, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if f := found[path]; f.SHA256 != sum {
			return m, fmt.Errorf("the export is damaged: %q has the checksum %q, not %q", path, f.SHA256, sum)
		}
	}
	delete(found, manifestName)
	for _, t := range m.Tables {
		var rows, size int64
		for _, f := range t.Files {
			if found[f.Path] != f {
				return m, fmt.Errorf("the export is damaged: %q is not the one of its manifest", f.Path)
			}
			delete(found, f.Path)
			rows, size = rows+f.Rows, size+f.Bytes
		}
		if rows != t.Rows || size != t.Bytes {
			return m, fmt.Errorf("the export is damaged: %s.%s has %d rows, not %d", t.Database, t.Table, rows, t.Rows)
		}
	}
	for path := range found {
		return m, fmt.Errorf("the export is damaged: its manifest does not name %q", path)
	}
	return m, nil
}

// readExported reads a file; its bytes are returned only of the manifest and the sums.
func readExported(r io.Reader, path string) (f ManifestFile, data []byte, err error) {
	f.Path = path
	hash := sha256.New()
	if path == manifestName || path == sumsName {
		data, err = io.ReadAll(io.LimitReader(r, maxManifest))
		hash.Write(data)
	} else {
		src := bufio.NewReaderSize(r, 64<<10)
		for buf := make([]byte, 64<<10); err == nil; {
			var n int
			n, err = src.Read(buf)
			hash.Write(buf[:n])
			f.Bytes += int64(n)
			f.Rows += int64(bytes.Count(buf[:n], []byte("\n")))
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	f.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return f, data, err
}
