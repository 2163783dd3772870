-- What each source lost, at which stage, for which reason and by which rule.
SELECT source, stage, reason, rule, count(*) AS rows FROM dropped GROUP BY ALL ORDER BY source, rows DESC, stage, reason, rule
