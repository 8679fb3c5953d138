SELECT slo, tenant, groupArray(piece) AS pieces, groupArray(good) AS goods, groupArray(total) AS totals
FROM (
    SELECT slo, tenant, piece, sum(good) AS good, sum(total) AS total
    FROM (
        SELECT slo, tenant, roundDown(toUnixTimestamp(minute), [1792837080, 1795169880, 1795342680, 1795407480, 1795421880, 1795425480, 1795427280, 1795428780]) AS piece, sum(good) AS good, sum(total) AS total
        FROM sli_1m
        WHERE (slo, revision) IN (('checkout', 2)) AND tenant = {tenant:String}
            AND (minute >= toDateTime('2026-10-24 10:18:00', 'UTC') AND minute < toDateTime('2026-10-24 11:00:00', 'UTC')
              OR minute >= toDateTime('2026-11-20 10:00:00', 'UTC') AND minute < toDateTime('2026-11-20 11:00:00', 'UTC')
              OR minute >= toDateTime('2026-11-22 10:00:00', 'UTC') AND minute < toDateTime('2026-11-22 11:00:00', 'UTC')
              OR minute >= toDateTime('2026-11-23 04:00:00', 'UTC') AND minute < toDateTime('2026-11-23 05:00:00', 'UTC')
              OR minute >= toDateTime('2026-11-23 08:00:00', 'UTC') AND minute < toDateTime('2026-11-23 10:18:00', 'UTC'))
        GROUP BY slo, tenant, piece
        UNION ALL
        SELECT slo, tenant, roundDown(toUnixTimestamp(hour), [1792837080, 1795169880, 1795342680, 1795407480, 1795421880, 1795425480, 1795427280, 1795428780]) AS piece, sum(good) AS good, sum(total) AS total
        FROM sli_1h
        WHERE (slo, revision) IN (('checkout', 2)) AND tenant = {tenant:String}
            AND (hour >= toDateTime('2026-10-24 11:00:00', 'UTC') AND hour < toDateTime('2026-11-20 10:00:00', 'UTC')
              OR hour >= toDateTime('2026-11-20 11:00:00', 'UTC') AND hour < toDateTime('2026-11-22 10:00:00', 'UTC')
              OR hour >= toDateTime('2026-11-22 11:00:00', 'UTC') AND hour < toDateTime('2026-11-23 04:00:00', 'UTC')
              OR hour >= toDateTime('2026-11-23 05:00:00', 'UTC') AND hour < toDateTime('2026-11-23 08:00:00', 'UTC'))
        GROUP BY slo, tenant, piece
    )
    GROUP BY slo, tenant, piece
)
GROUP BY slo, tenant
ORDER BY slo, tenant
