package dashboards

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/nexis-limited/headroom/web/theme"
)

// dist is what dashboards/assets/build.mjs made. On a fresh clone it holds a placeholder only.
//
//go:embed all:assets/dist assets/src/console.css
var dist embed.FS

// assets are the files that pages load, each under an address that changes with its content.
type assets struct {
	Style, Script string // paths; Script is empty when nothing was bundled
	files         map[string]asset
}

type asset struct {
	body      []byte
	mediaType string
}

func loadAssets() (*assets, error) {
	own, err := dist.ReadFile("assets/src/console.css")
	if err != nil {
		return nil, fmt.Errorf("cannot read the console's stylesheet: %w", err)
	}
	a := &assets{files: map[string]asset{}}
	style := append([]byte(nil), theme.CSS...)
	if bundled, err := dist.ReadFile("assets/dist/console.css"); err == nil { // the chart library's
		style = append(style, bundled...)
	}
	a.Style = a.add("console", "css", "text/css; charset=utf-8", append(style, own...))
	if script, err := dist.ReadFile("assets/dist/console.js"); err == nil {
		a.Script = a.add("console", "js", "text/javascript; charset=utf-8", script)
	}
	return a, nil
}

func (a *assets) add(name, ext, mediaType string, body []byte) (path string) {
	sum := sha256.Sum256(body)
	path = "/assets/" + name + "-" + hex.EncodeToString(sum[:6]) + "." + ext
	a.files[path] = asset{body, mediaType}
	return path
}

// ServeHTTP serves the files. Their addresses name their content, so browsers keep them.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.URL.Path]
	if !ok {
		// A page from before an upgrade asks for what it was made with: what is there now serves it better than nothing.
		for path, candidate := range a.files {
			if ext := path[strings.LastIndexByte(path, '.'):]; strings.HasPrefix(r.URL.Path, "/assets/console-") && strings.HasSuffix(r.URL.Path, ext) {
				w.Header().Set("Content-Type", candidate.mediaType)
				w.Header().Set("Cache-Control", "no-store")
				_, _ = w.Write(candidate.body)
				return
			}
		}
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.mediaType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(f.body) // the reader is gone
}
