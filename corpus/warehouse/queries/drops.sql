-- What each source lost, at which stage and for which reason.
SELECT source, stage, reason, count(*) AS rows FROM dropped GROUP BY ALL ORDER BY source, rows DESC, stage, reason
