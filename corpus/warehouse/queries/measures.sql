-- Distribution of one measure, by source and kind. Parameter: the measure, such as chars or distinct_4.
SELECT source, kind, count(value) AS rows, round(min(value), 4) AS least, round(quantile_cont(value, 0.05), 4) AS p5,
    round(quantile_cont(value, 0.5), 4) AS median, round(quantile_cont(value, 0.95), 4) AS p95, round(max(value), 4) AS most
FROM (
    SELECT source, kind, coalesce(TRY_CAST(value AS DOUBLE), CASE value WHEN 'true' THEN 1 WHEN 'false' THEN 0 END) AS value
    FROM (SELECT source, kind, json_extract_string(to_json(m), '$.' || $measure) AS value FROM measures AS m)
)
GROUP BY source, kind ORDER BY source, kind
