package collector

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// testDisk is a real disk on which tests make steps fail, and whose power they cut.
//
// It keeps what a power cut may undo: bytes that were not synced, written or cut off, and files that were created, linked,
// renamed or removed without a sync of their directory. Which of that is undone, chance decides for each, as it does on real
// disks.
type testDisk struct {
	osDisk
	// fail is asked before each step; its error is the step's. A write that fails writes half of it.
	fail func(step, path string) error

	mu     sync.Mutex // held over all steps: they are few
	dead   bool
	steps  int
	synced map[string]int64  // size of each file that a power cut leaves for sure
	uncut  map[string][]byte // each file that was cut and not synced since, as it was before
	undo   []undoable        // changes of directories that are not synced, the newest last
}

type undoable struct {
	dir string
	do  func() error
}

func newTestDisk(fail func(step, path string) error) *testDisk {
	return &testDisk{fail: fail, synced: map[string]int64{}, uncut: map[string][]byte{}}
}

var errPowerCut = errors.New("the power is cut")

func (d *testDisk) step(name, path string) error {
	d.steps++
	if d.dead {
		return &fs.PathError{Op: name, Path: path, Err: errPowerCut}
	}
	if d.fail == nil {
		return nil
	}
	if err := d.fail(name, path); err != nil {
		return &fs.PathError{Op: name, Path: path, Err: err}
	}
	return nil
}

func (d *testDisk) makeDir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	return d.osDisk.makeDir(path)
}

func (d *testDisk) list(dir string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("list", dir); err != nil {
		return nil, err
	}
	return d.osDisk.list(dir)
}

func (d *testDisk) touch(path string, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("touch", path); err != nil {
		return err
	}
	return d.osDisk.touch(path, at)
}

func (d *testDisk) open(path string, flag int) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("open", path); err != nil {
		return nil, err
	}
	_, statErr := os.Stat(path)
	f, err := d.osDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		d.synced[path] = 0
		d.undo = append(d.undo, undoable{filepath.Dir(path), func() error { return os.Remove(path) }})
	}
	if flag&os.O_TRUNC != 0 {
		d.synced[path] = 0
	}
	return &testFile{file: f, disk: d, path: path}, nil
}

func (d *testDisk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("rename", from); err != nil {
		return err
	}
	over, readErr := os.ReadFile(to)
	if err := d.osDisk.rename(from, to); err != nil {
		return err
	}
	if size, ok := d.synced[from]; ok {
		d.synced[to] = size
		delete(d.synced, from)
	}
	delete(d.uncut, to)
	if was, ok := d.uncut[from]; ok {
		d.uncut[to] = was
		delete(d.uncut, from)
	}
	d.undo = append(d.undo, undoable{filepath.Dir(from), func() error {
		err := os.Rename(to, from)
		if err == nil && readErr == nil {
			err = os.WriteFile(to, over, 0o600)
		}
		return err
	}})
	return nil
}

func (d *testDisk) link(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("link", from); err != nil {
		return err
	}
	if err := d.osDisk.link(from, to); err != nil {
		return err
	}
	d.undo = append(d.undo, undoable{filepath.Dir(to), func() error { return os.Remove(to) }})
	return nil
}

func (d *testDisk) remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("remove", path); err != nil {
		return err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := d.osDisk.remove(path); err != nil {
		return err
	}
	size, had := d.synced[path]
	delete(d.synced, path)
	delete(d.uncut, path)
	d.undo = append(d.undo, undoable{filepath.Dir(path), func() error {
		if had {
			src = src[:min(size, int64(len(src)))]
		}
		return os.WriteFile(path, src, 0o600)
	}})
	return nil
}

func (d *testDisk) syncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("syncdir", dir); err != nil {
		return err
	}
	var left []undoable
	for _, u := range d.undo {
		if u.dir != dir {
			left = append(left, u)
		}
	}
	d.undo = left
	return d.osDisk.syncDir(dir)
}

// die lets every step fail from now on.
func (d *testDisk) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// cutPower undoes a part of what is not synced. Nothing may use the disk any more.
func (d *testDisk) cutPower(rng *rand.Rand) error {
	for i := len(d.undo) - 1; i >= 0; i-- {
		if rng.IntN(2) == 0 {
			break // a journal of a file system loses its end, not its middle
		}
		if err := d.undo[i].do(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for path, was := range d.uncut {
		if _, err := os.Stat(path); err != nil || rng.IntN(2) == 0 {
			continue
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			return err
		}
	}
	for path, size := range d.synced {
		info, err := os.Stat(path)
		if err != nil || info.Size() <= size {
			continue
		}
		to := size + rng.Int64N(info.Size()-size+1)
		if err := os.Truncate(path, to); err != nil {
			return err
		}
		if rng.IntN(2) == 0 { // the size came to the disk and the bytes did not
			if err := os.Truncate(path, info.Size()); err != nil {
				return err
			}
		}
	}
	return nil
}

type testFile struct {
	file
	disk *testDisk
	path string
}

func (f *testFile) Read(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("read", f.path); err != nil {
		return 0, err
	}
	return f.file.Read(p)
}

func (f *testFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("write", f.path); err != nil {
		n := 0
		if !f.disk.dead {
			n, _ = f.file.Write(p[:len(p)/2])
		}
		return n, err
	}
	return f.file.Write(p)
}

func (f *testFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("truncate", f.path); err != nil {
		return err
	}
	was, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if err := f.file.Truncate(size); err != nil {
		return err
	}
	if _, ok := f.disk.uncut[f.path]; !ok {
		f.disk.uncut[f.path] = was
	}
	if synced, ours := f.disk.synced[f.path]; !ours || synced > size { // what was there before us is on the disk
		f.disk.synced[f.path] = size
	}
	return nil
}

func (f *testFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("sync", f.path); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		f.disk.synced[f.path] = info.Size()
		delete(f.disk.uncut, f.path)
	}
	return err
}
