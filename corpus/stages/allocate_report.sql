-- What fell to each split of each source, and what of it was taken, in the unit in which it was asked for.
WITH fell AS (
    SELECT *, coalesce(unit, total_unit, 'rows') AS counted,
        CASE counted WHEN 'tokens' THEN tokens WHEN 'chars' THEN chars WHEN 'bytes' THEN bytes ELSE 1 END AS size
    FROM eligible
)
SELECT
    f.split, f.source, any_value(f.counted) AS unit, sum(f.size)::BIGINT AS available,
    coalesce(sum(f.size * a.copies), 0)::BIGINT AS got, count(a.row_id) AS rows,
    count(a.row_id) FILTER (WHERE a.part = 'eval') AS eval, count(a.row_id) FILTER (WHERE f.request) AS requests
FROM fell AS f LEFT JOIN assigned AS a ON f.row_id = a.row_id AND f.split = a.base
GROUP BY f.split, f.source ORDER BY f.split, f.source
