-- What each source lost to duplicates: its rows, those that are equal and those that are near to a kept row, and their shares in percent.
WITH lost AS (
    SELECT source, count(*) FILTER (WHERE reason = 'exact_duplicate') AS exact, count(*) FILTER (WHERE reason = 'near_duplicate') AS near
    FROM dropped WHERE stage = 'dedup' GROUP BY source
)
SELECT s.source, l.key, l.protect, s.rows, coalesce(d.exact, 0) AS exact, coalesce(d.near, 0) AS near,
    round(100.0 * coalesce(d.exact, 0) / s.rows, 2) AS exact_percent, round(100.0 * coalesce(d.near, 0) / s.rows, 2) AS near_percent
FROM sources AS s JOIN source_list AS l USING (source) LEFT JOIN lost AS d USING (source)
WHERE s.rows > 0 ORDER BY coalesce(d.exact, 0) + coalesce(d.near, 0) DESC, s.source
