package collector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// disk is what the spool asks of the file system. Tests make each of its steps fail, one after the other; that nothing
// but what stands here is asked makes them complete.
type disk interface {
	makeDir(path string) error
	list(dir string) ([]fs.DirEntry, error) // sorted by name
	open(path string, flag int) (file, error)
	rename(from, to string) error
	link(from, to string) error
	remove(path string) error
	touch(path string, modified time.Time) error
	// syncDir makes the creation, renaming and removal of files in dir durable.
	syncDir(dir string) error
}

// file is an *os.File.
type file interface {
	io.Reader
	io.ReaderAt
	io.Writer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// osDisk is the disk that everybody has.
type osDisk struct{}

func (osDisk) makeDir(path string) error              { return os.MkdirAll(path, 0o700) }
func (osDisk) list(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (osDisk) rename(from, to string) error           { return os.Rename(from, to) }
func (osDisk) link(from, to string) error             { return os.Link(from, to) }
func (osDisk) remove(path string) error               { return os.Remove(path) }
func (osDisk) touch(path string, at time.Time) error  { return os.Chtimes(path, time.Time{}, at) }

func (osDisk) open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // not f: an interface that holds a nil *os.File is not nil
	}
	return f, nil
}

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("cannot sync directory %q: %w", dir, err)
	}
	return nil
}

// isFull says whether err means that there is no room on the disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

const temporarySuffix = ".tmp"

// writeWhole replaces path by a file of the given bytes, durably and at once.
func writeWhole(d disk, path string, data []byte) error {
	tmp := path + temporarySuffix
	f, err := d.open(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("cannot create a spool file: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = d.rename(tmp, path)
	}
	if err != nil {
		_ = d.remove(tmp) // it may be what fills the disk; else the next start removes it
		return fmt.Errorf("cannot write a spool file: %w", err)
	}
	return d.syncDir(filepath.Dir(path))
}
