package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nexis-limited/headroom/tenant"
)

// ensureKeyFile makes sure that file holds an API key that works, and returns it. The text reaches the disk before the
// database knows it: a crash between the two is mended by the next start, and never leaves a key that nobody has. The
// error is Unauthenticated when somebody has revoked the key.
func ensureKeyFile(ctx context.Context, keys *tenant.Keys, file, name string, scopes []tenant.Scope) (key string, made bool, err error) {
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		key = strings.TrimSpace(string(b))
	case errors.Is(err, fs.ErrNotExist):
		key, made = tenant.NewKeyText(), true
		if err := writeDurably(file, key+"\n"); err != nil {
			return "", false, fmt.Errorf("cannot write key file %q: %w", file, err)
		}
	default:
		return "", false, fmt.Errorf("cannot read key file %q: %w", file, err)
	}
	if err := keys.Ensure(ctx, name, scopes, key); err != nil {
		return "", false, fmt.Errorf("cannot use the key in %q (delete the file to get a new one): %w", file, err)
	}
	return key, made, nil
}

// writeDurably writes a file of mode 0600 that is there whole or not at all.
func writeDurably(file, text string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".key-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // the name too
}
