// Package slo owns service level objectives: their definitions (OpenSLO with a selector of ours), the rollups that count
// good and total requests, the maths of burn rates and error budgets, and the engine that evaluates every SLO for every
// tenant and reports what burns.
//
// It promises that good and total are exact counts of requests, that a change of a definition makes a new revision and
// never rewrites the past, and that missing data is neither good nor bad. Objectives are integers in parts per million.
//
// The pure parts (parse*.go, burn.go, evaluate.go, segments.go) do no I/O and take the time as an argument. Store keeps
// definitions in PostgreSQL and mirrors what the rollups need of them to ClickHouse, Reader reads counts, Engine runs the
// cycle. Packages statuspage, dashboards and app may import it; it tells alerting what it sees by alerting's types.
package slo
