-- Distribution of one measure, by source and kind. Parameter: the measure, such as chars or distinct_4; of script and language, how often each value occurs.
WITH named AS (
    SELECT CASE WHEN count(*) = 0 THEN error('there is no measure ' || $measure || '; DESCRIBE measures lists them') ELSE $measure END AS measure
    FROM duckdb_columns() WHERE table_name = 'measures' AND column_name = $measure
),
valued AS (
    SELECT source, kind, json_extract_string(to_json(m), '$.' || measure) AS said FROM measures AS m, named
),
numbered AS (
    SELECT source, kind, said, coalesce(TRY_CAST(said AS DOUBLE), CASE said WHEN 'true' THEN 1 WHEN 'false' THEN 0 END) AS value FROM valued
)
SELECT source, kind, count(said) AS rows, round(min(value), 4) AS least, round(quantile_cont(value, 0.05), 4) AS p5,
    round(quantile_cont(value, 0.5), 4) AS median, round(quantile_cont(value, 0.95), 4) AS p95, round(max(value), 4) AS most,
    CASE WHEN count(value) = 0 THEN histogram(said)::VARCHAR END AS words
FROM numbered GROUP BY source, kind ORDER BY source, kind
