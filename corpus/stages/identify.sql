-- Records that occur in more than one partition of a source: for each, and for each partition but the first that holds it,
-- how often it occurs in the partitions before. `parts` numbers the partitions in their order.
WITH keyed AS (
    SELECT coalesce(r.first_id, r.row_id) AS key, p.number, r.file, r.record, r.byte_offset
    FROM {rows} AS r JOIN parts AS p ON r.filename = p.path
),
shared AS (
    SELECT key FROM keyed GROUP BY key HAVING min(number) <> max(number)
),
counted AS (
    SELECT key, number, count(DISTINCT (file, record, coalesce(byte_offset, -1))) AS n
    FROM keyed SEMI JOIN shared USING (key)
    GROUP BY key, number
)
SELECT number, key, before
FROM (
    SELECT number, key, sum(n) OVER (PARTITION BY key ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM counted
)
WHERE before IS NOT NULL
ORDER BY number, key
