-- At every stage, what goes in is what goes on and what is dropped.
WITH parsed AS (SELECT source, count(*) AS n FROM rows GROUP BY source),
cleaned AS (SELECT source, count(*) AS n FROM clean GROUP BY source),
assigned_rows AS (SELECT source, count(DISTINCT row_id) AS n FROM assigned GROUP BY source),
lost AS (
    SELECT source, count(*) FILTER (WHERE stage = 'clean') AS in_clean, count(*) FILTER (WHERE stage <> 'clean') AS later FROM dropped GROUP BY source
)
SELECT p.source, p.n AS parsed, c.n AS cleaned, l.in_clean, l.later, a.n AS in_splits
FROM parsed AS p
LEFT JOIN cleaned AS c USING (source)
LEFT JOIN lost AS l USING (source)
LEFT JOIN assigned_rows AS a USING (source)
WHERE p.n <> coalesce(c.n, 0) + coalesce(l.in_clean, 0)
   OR coalesce(c.n, 0) <> coalesce(a.n, 0) + coalesce(l.later, 0)
