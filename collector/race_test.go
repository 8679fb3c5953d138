//go:build race

package collector

// underRace says that the race detector is there: everything takes several times as long, and not all of it as much longer.
const underRace = true
