package web

import (
	"strconv"
	"strings"
)

// CSVCell keeps a spreadsheet from running a cell as a formula: names of tenants and routes come from telemetry.
func CSVCell(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return cell
	}
	if _, err := strconv.ParseFloat(cell, 64); err == nil {
		return cell
	}
	return "'" + cell
}
