-- How many rows each cleaning rule changed, by source.
SELECT source, rule, count(*) AS rows FROM (SELECT source, unnest(changed_by) AS rule FROM clean) GROUP BY ALL ORDER BY source, rows DESC, rule
