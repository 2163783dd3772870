-- No stage loses a row: every parsed row is clean and measured, and is then in a split or in the ledger.
WITH parsed AS (SELECT source, count(*) AS n FROM rows GROUP BY source),
cleaned AS (SELECT source, count(*) AS n FROM clean GROUP BY source),
assigned_rows AS (SELECT source, count(DISTINCT row_id) AS n FROM assigned GROUP BY source),
measured AS (SELECT source, count(*) AS n FROM measures GROUP BY source),
lost AS (SELECT source, count(*) AS n FROM dropped GROUP BY source)
SELECT p.source, p.n AS parsed, c.n AS cleaned, m.n AS measured, l.n AS dropped, a.n AS in_splits
FROM parsed AS p
LEFT JOIN cleaned AS c USING (source)
LEFT JOIN measured AS m USING (source)
LEFT JOIN lost AS l USING (source)
LEFT JOIN assigned_rows AS a USING (source)
WHERE p.n IS DISTINCT FROM c.n OR p.n IS DISTINCT FROM m.n OR p.n <> coalesce(a.n, 0) + coalesce(l.n, 0)
