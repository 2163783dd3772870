-- How many rows each cleaning rule changed, by source, and what share of the source's rows that is.
SELECT source, rule, count(*) AS rows, round(100.0 * count(*) / any_value(total), 2) AS percent
FROM (SELECT source, unnest(changed_by) AS rule FROM clean) JOIN (SELECT source, count(*) AS total FROM clean GROUP BY source) USING (source)
GROUP BY source, rule ORDER BY source, rows DESC, rule
