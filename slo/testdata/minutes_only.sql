SELECT slo, tenant, groupArray(piece) AS pieces, groupArray(good) AS goods, groupArray(total) AS totals
FROM (
    SELECT slo, tenant, piece, sum(good) AS good, sum(total) AS total
    FROM (
        SELECT slo, tenant, roundDown(toUnixTimestamp(minute), [1795428480, 1795428780]) AS piece, sum(good) AS good, sum(total) AS total
        FROM sli_1m
        WHERE (slo, revision) IN (('search', 1))
            AND (minute >= toDateTime('2026-11-23 10:08:00', 'UTC') AND minute < toDateTime('2026-11-23 10:18:00', 'UTC'))
        GROUP BY slo, tenant, piece
    )
    GROUP BY slo, tenant, piece
)
GROUP BY slo, tenant
ORDER BY slo, tenant
