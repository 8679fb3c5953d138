SELECT slo, revision, tenant,
    sum(good), sum(total),
    sum(good), sum(total),
    sum(good), sum(total),
    sumIf(good, minute >= toDateTime('2026-11-23 04:18:00', 'UTC')), sumIf(total, minute >= toDateTime('2026-11-23 04:18:00', 'UTC')),
    sumIf(good, minute >= toDateTime('2026-11-23 08:18:00', 'UTC')), sumIf(total, minute >= toDateTime('2026-11-23 08:18:00', 'UTC')),
    sumIf(good, minute >= toDateTime('2026-11-23 09:18:00', 'UTC')), sumIf(total, minute >= toDateTime('2026-11-23 09:18:00', 'UTC')),
    sumIf(good, minute >= toDateTime('2026-11-23 09:48:00', 'UTC')), sumIf(total, minute >= toDateTime('2026-11-23 09:48:00', 'UTC')),
    sumIf(good, minute >= toDateTime('2026-11-23 10:13:00', 'UTC')), sumIf(total, minute >= toDateTime('2026-11-23 10:13:00', 'UTC'))
FROM sli_1m
WHERE slo IN ('checkout') AND revision IN (2) AND tenant IN {tenants:Array(String)}
    AND (minute >= toDateTime('2026-11-23 04:00:00', 'UTC') AND minute < toDateTime('2026-11-23 05:00:00', 'UTC')
      OR minute >= toDateTime('2026-11-23 08:00:00', 'UTC') AND minute < toDateTime('2026-11-23 10:18:00', 'UTC'))
GROUP BY slo, revision, tenant
SETTINGS optimize_aggregation_in_order = 0;

SELECT slo, revision, tenant,
    sum(good), sum(total),
    sumIf(good, hour >= toDateTime('2026-11-20 10:00:00', 'UTC')), sumIf(total, hour >= toDateTime('2026-11-20 10:00:00', 'UTC')),
    sumIf(good, hour >= toDateTime('2026-11-22 10:00:00', 'UTC')), sumIf(total, hour >= toDateTime('2026-11-22 10:00:00', 'UTC')),
    sumIf(good, hour >= toDateTime('2026-11-23 04:18:00', 'UTC')), sumIf(total, hour >= toDateTime('2026-11-23 04:18:00', 'UTC'))
FROM sli_1h
WHERE slo IN ('checkout') AND revision IN (2) AND tenant IN {tenants:Array(String)}
    AND (hour >= toDateTime('2026-10-24 10:00:00', 'UTC') AND hour < toDateTime('2026-11-23 04:00:00', 'UTC')
      OR hour >= toDateTime('2026-11-23 05:00:00', 'UTC') AND hour < toDateTime('2026-11-23 08:00:00', 'UTC'))
GROUP BY slo, revision, tenant
SETTINGS optimize_aggregation_in_order = 1
