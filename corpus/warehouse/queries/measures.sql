-- Distribution of one measure, by source and kind. Parameter: the measure, such as chars or distinct_4.
SELECT source, kind, count(value) AS rows, min(value) AS least, quantile_cont(value, 0.05) AS p5, quantile_cont(value, 0.5) AS median,
    quantile_cont(value, 0.95) AS p95, max(value) AS most
FROM (
    SELECT source, kind, coalesce(TRY_CAST(value AS DOUBLE), CASE value WHEN 'true' THEN 1 WHEN 'false' THEN 0 END) AS value
    FROM (SELECT source, kind, json_extract_string(to_json(m), '$.' || $measure) AS value FROM measures AS m)
)
GROUP BY source, kind ORDER BY source, kind
