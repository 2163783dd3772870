-- What the allocation says that a split got of a source is what was assigned to it.
WITH found AS (
    SELECT l.stage AS split, a.source, count(*) AS rows, count(*) FILTER (WHERE a.part = 'eval') AS eval
    FROM assigned AS a JOIN split_list AS l USING (split) GROUP BY ALL
)
SELECT coalesce(a.split, f.split) AS split, coalesce(a.source, f.source) AS source, a.rows AS said, f.rows AS assigned, a.eval, f.eval AS held_out
FROM (SELECT * FROM allocation WHERE rows > 0) AS a FULL JOIN found AS f ON a.split = f.split AND a.source = f.source
WHERE a.rows IS DISTINCT FROM f.rows OR a.eval IS DISTINCT FROM f.eval
