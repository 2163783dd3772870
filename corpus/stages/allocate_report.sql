-- What each split asked of each source, what fell to it, and what it got.
SELECT
    s.split,
    o.source,
    CASE WHEN q.rows IS NULL THEN s.rows ELSE least(q.rows, coalesce(s.rows, q.rows)) END AS asked,
    o.available,
    coalesce(g.got, 0) AS got,
    coalesce(g.eval, 0) AS eval,
    CASE
        WHEN q.rows IS NOT NULL AND coalesce(g.got, 0) < o.available AND coalesce(g.got, 0) = q.rows THEN 'per_source cap'
        WHEN coalesce(g.got, 0) < o.available THEN 'rows cap of the split'
        WHEN q.rows IS NOT NULL AND coalesce(g.got, 0) < q.rows THEN 'the source has no more'
    END AS reason
FROM (SELECT split, source, count(*) AS available FROM offered GROUP BY ALL) AS o
JOIN splits AS s ON o.split = s.split
LEFT JOIN per_source AS q ON o.split = q.split AND o.source = q.source
LEFT JOIN (
    SELECT split, source, count(*) AS got, count(*) FILTER (WHERE part = 'eval') AS eval FROM assigned GROUP BY ALL
) AS g ON o.split = g.split AND o.source = g.source
ORDER BY s.split, o.source
