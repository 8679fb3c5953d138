// Command assets bundles what the console loads in the browser: src/console.js with htmx and uPlot from node_modules
// into dist/console.js, and uPlot's stylesheet into dist/console.css. Run "npm ci" here first, then
// "go run ./dashboards/assets" from the root of the repository.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// maxScriptBytes is the promise of a console that is usable at once: see the budget for script in the design.
const maxScriptBytes = 150_000

func main() {
	dir := flag.String("dir", filepath.Join("dashboards", "assets"), "directory with package.json, src and dist")
	flag.Parse()
	if err := build(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "assets:", err)
		os.Exit(1)
	}
}

func build(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("cannot resolve directory %q: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(abs, "node_modules", "uplot")); err != nil {
		return fmt.Errorf("cannot find node_modules in %q: run \"npm ci\" there first", dir)
	}
	r := api.Build(api.BuildOptions{
		AbsWorkingDir: abs,
		EntryPoints:   []string{"src/console.js"},
		Outdir:        filepath.Join(abs, "dist"),
		Bundle:        true, Write: true,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		Format: api.FormatIIFE,
		Target: api.ES2022,
		// Comments that carry a license stay at the end of the bundle.
		LegalComments: api.LegalCommentsEndOfFile,
	})
	if len(r.Errors) > 0 {
		e := r.Errors[0]
		if e.Location != nil {
			return fmt.Errorf("cannot bundle %s:%d: %s", e.Location.File, e.Location.Line, e.Text)
		}
		return fmt.Errorf("cannot bundle: %s", e.Text)
	}
	for _, f := range r.OutputFiles {
		fmt.Printf("%s %d bytes\n", filepath.Join(dir, "dist", filepath.Base(f.Path)), len(f.Contents))
		if filepath.Ext(f.Path) == ".js" && len(f.Contents) > maxScriptBytes {
			return fmt.Errorf("the script has %d bytes, more than the %d that the console may load", len(f.Contents), maxScriptBytes)
		}
	}
	return nil
}
