package demo

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed slos/*.yaml
var sloFiles embed.FS

// sloDocument returns the SLOs of the demo and their alert policies as one OpenSLO document.
func sloDocument() (string, error) {
	entries, err := sloFiles.ReadDir("slos")
	if err != nil {
		return "", fmt.Errorf("cannot list embedded SLOs: %w", err)
	}
	var parts []string
	for _, e := range entries {
		b, err := sloFiles.ReadFile("slos/" + e.Name())
		if err != nil {
			return "", fmt.Errorf("cannot read embedded SLOs %q: %w", e.Name(), err)
		}
		parts = append(parts, string(b))
	}
	return strings.Join(parts, "---\n"), nil
}
