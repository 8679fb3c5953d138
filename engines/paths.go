package engines

import (
	"os"
	"path/filepath"
)

// postgresUser is the user under which PostgreSQL runs when headroom is root, which it refuses to be: "nobody".
const postgresUser = 65534

// reachable reports whether a user without any special right can pass through all directories above path.
func reachable(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
