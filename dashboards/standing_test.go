package dashboards

import (
	"testing"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// The headline, the callouts, the tab and the count beside Alerts say the same, also when an open alert holds tenants
// that have recovered, went silent or are not known to the SLO any more.
func TestWhatBurnsIsCountedOnce(t *testing.T) {
	gone := status("pay", "gone", slo.StateNoData, 0.6, 0)
	gone.BurnRates[0].LongCounts = slo.Counts{}
	snap := &slo.Snapshot{SLOs: []slo.Definition{{Name: "pay", Title: "Pay"}}, Statuses: []slo.Status{
		status("pay", "calm", slo.StateOK, 0.9, 0.1), status("pay", "fine", slo.StateOK, 0.8, 0.1), gone,
		status("pay", "held", slo.StateOK, 0.5, 2), status("pay", "new", slo.StatePage, 0.7, 40)}}
	members := []alerting.Member{{Tenant: "held"}, {Tenant: "gone"}, {Tenant: "stranger"}}
	alerts := []openAlert{{&alerting.View{Alert: "a-1", Rule: "pay", Severity: alerting.Page, Title: "Pay burns for 3 tenants", Count: 3}, members}}
	now := standing(snap, alerts)
	if snap.Statuses[3].State != slo.StateOK {
		t.Fatal("the shared snapshot was changed")
	}
	rows := mergeRows(nil, now, nil, "")
	burns := burnsOf(now, alerts, func(id tenant.ID) string { return string(id) }, day)
	tab := 0
	for i := range rows {
		if rows[i].in(showBurning) {
			tab++
		}
	}
	l := &layout{}
	l.countBurning(now)
	if len(burns) != 1 || burns[0].Tenants != 4 || burns[0].Heading != "Pay burns for 4 tenants" || tab != 4 || l.Burning != 1 || l.BurningGlyph != "page" {
		t.Errorf("burns %+v, %d under the tab, %d beside Alerts", burns, tab, l.Burning)
	}
	v := verdictOf(now, burns, rows, budgetsOf(rows), day)
	if v.Bold != "Pay burns for 4 tenants." || v.Context !=
		"For the other 2 tenants with traffic nothing burns. 2 of those that burn sent nothing lately: an alert stays open until requests show that it is over." {
		t.Errorf("%+v", v)
	}
	if standing(nil, alerts) != nil || standing(snap, nil) != snap {
		t.Error("without a snapshot, or without alerts, there is nothing to raise")
	}
}

// The budget of a row is the tightest of its SLOs, as in the histogram; its burn is that of the worst.
func TestRowsNameTheSLOOfTheirBudget(t *testing.T) {
	snap := &slo.Snapshot{SLOs: []slo.Definition{{Name: "pay"}, {Name: "ship"}}, Statuses: []slo.Status{
		status("pay", "acme", slo.StatePage, 0.6, 40), status("ship", "acme", slo.StateOK, 0.1, 0.5)}}
	row := mergeRows(nil, snap, nil, "")[0]
	if row.SLO.SLO != "pay" || row.Burn != 40 || row.Tightest.SLO != "ship" || row.Budget != 0.1 || !row.Elsewhere() || !row.in(showLow) {
		t.Errorf("%+v", row)
	}
}
