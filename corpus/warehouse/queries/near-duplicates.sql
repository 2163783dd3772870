-- Rows that were dropped as near duplicates: the kept row, their exact similarity, and how both begin.
-- Optional: source.
WITH wanted AS (
    SELECT CASE
        WHEN $source::VARCHAR IS NULL OR $source IN (SELECT source FROM source_list) THEN $source::VARCHAR
        ELSE error('there is no source ' || $source || ' in this build; `corpus sql overview` lists them')
    END AS source
),
near AS (
    SELECT d.row_id, d.source, d.kept_row_id, d.jaccard, d.detail FROM dropped AS d, wanted AS w
    WHERE d.reason = 'near_duplicate' AND (w.source IS NULL OR d.source = w.source)
),
spoken AS (
    SELECT row_id, source, coalesce(text, array_to_string(list_transform(list_concat(messages, chosen), lambda m: m.content), ' ⏎ ')) AS said
    FROM clean SEMI JOIN (SELECT row_id FROM near UNION SELECT kept_row_id FROM near) USING (row_id)
)
SELECT n.row_id, n.source, n.kept_row_id, k.source AS kept_source, round(n.jaccard, 4) AS jaccard, n.detail,
    replace(left(r.said, 120), chr(10), ' ') AS text, replace(left(k.said, 120), chr(10), ' ') AS kept_text
FROM near AS n JOIN spoken AS r ON n.row_id = r.row_id JOIN spoken AS k ON n.kept_row_id = k.row_id
ORDER BY n.source, n.jaccard, n.row_id
