// Package dashboards is the console for SREs and the read side of the JSON API: the tenants, one tenant, SLOs, alerts.
//
// It promises that every page opens with a sentence that is true now, that a store which does not answer costs a panel
// and never the page, and that pages work without script but for charts that redraw. Percentiles come from merged
// histograms within 1.1 % of the exact value; budgets and burn rates are package slo's and alerts package alerting's,
// never computed again here. Only app imports it.
package dashboards
