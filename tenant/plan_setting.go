package tenant

import (
	"slices"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// Setting is one thing that a plan says, by the name that the API and control.plan_settings have for it. Those of quotas
// are named as in ParseQuotas. All are whole numbers.
type Setting string

// The settings besides quotas.
const (
	AvailabilityTargetPPM Setting = "availability-target-ppm" // of SLOs that name no target for the tenant or its plan
	LatencyTargetPPM      Setting = "latency-target-ppm"      // the same
	RetentionDays         Setting = "retention-days"          // of telemetry
	PrivateStatusPage     Setting = "private-status-page"     // 1: the tenant may have one
	CustomSLOs            Setting = "custom-slos"             // that a tenant may have of its own
	MaxMembers            Setting = "members"                 // people that a tenant may have
	AuditRetentionDays    Setting = "audit-retention-days"    // of the audit log
)

// NoLimit is the value of settings that count something, for as much as one likes. Quotas have 0 for it, as ever.
const NoLimit = -1

// settingRule is which values a setting takes.
type settingRule struct {
	name        Setting
	least, most int64
	quota       bool // a field of Quota
	planOnly    bool // no override of a tenant: it has another way
	unit        string
}

// settingRules are all settings, in the order in which people see them.
var settingRules = func() []settingRule {
	rules := []settingRule{
		{name: AvailabilityTargetPPM, least: 1, most: 999_999, planOnly: true, unit: "parts per million, from 1 to 999999"},
		{name: LatencyTargetPPM, least: 1, most: 999_999, planOnly: true, unit: "parts per million, from 1 to 999999"},
		{name: RetentionDays, least: 1, most: 3650, unit: "days, from 1 to 3650"},
		{name: AuditRetentionDays, least: 1, most: 36_500, unit: "days, from 1 to 36500"},
		{name: PrivateStatusPage, least: 0, most: 1, unit: "1 for yes, 0 for no"},
		{name: CustomSLOs, least: NoLimit, most: 1_000_000, unit: "a number from 0, or -1 for no limit"},
		{name: MaxMembers, least: NoLimit, most: 1_000_000, unit: "a number from 0, or -1 for no limit"},
	}
	var q Quota
	for _, name := range sortedNames(quotaFields(&q)) {
		r := settingRule{name: Setting(name), most: maxRate, quota: true, unit: "a number from 1, or 0 for no limit"}
		switch name {
		case burstSeconds:
			r.least, r.most, r.unit = 1, 3600, "seconds, from 1 to 3600"
		case hardLimit:
			r.most, r.unit = 1_000_000, "a multiple from 1 to 1000000, or 0, which refuses nothing"
		}
		rules = append(rules, r)
	}
	return rules
}()

// Settings lists the names of all settings.
func Settings() []Setting {
	names := make([]Setting, len(settingRules))
	for i, r := range settingRules {
		names[i] = r.name
	}
	return names
}

func ruleOf(s Setting) (settingRule, error) {
	i := slices.IndexFunc(settingRules, func(r settingRule) bool { return r.name == s })
	if i < 0 {
		names := make([]string, len(settingRules))
		for i, r := range settingRules {
			names[i] = string(r.name)
		}
		return settingRule{}, fault.InvalidField("key", string(s), "must be one of %s", strings.Join(names, ", "))
	}
	return settingRules[i], nil
}

// builtIn is what a plan says that nobody changed. Targets have none: each SLO's own holds. What the migration stores is
// the same, which a test compares.
func builtIn(p Plan) map[Setting]int64 {
	values := map[Plan]map[Setting]int64{
		Starter:      {RetentionDays: 30, PrivateStatusPage: 0, CustomSLOs: 0, MaxMembers: 10, AuditRetentionDays: 90},
		Professional: {RetentionDays: 30, PrivateStatusPage: 1, CustomSLOs: 10, MaxMembers: 100, AuditRetentionDays: 365},
		Enterprise:   {RetentionDays: 30, PrivateStatusPage: 1, CustomSLOs: 100, MaxMembers: NoLimit, AuditRetentionDays: 2555},
	}
	return values[p]
}
