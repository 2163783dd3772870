-- Every answer beside its request, in the order in which they are written. Where a request is known several times, the lowest rank counts.
WITH known AS (
    SELECT * FROM requests QUALIFY row_number() OVER (PARTITION BY row_id, split ORDER BY rank, seq) = 1
)
SELECT
    a.file, a.line, a.row_id, a.split, a.n, a.answer, a.finished, a.prompt AS given, a.rendered, a.more,
    k.source, k.subset, k.license, coalesce(k.upstream_split, u.upstream_split) AS upstream_split, k.prompt, k.chosen, k.text,
    u.row_id IS NOT NULL AS is_row, o.row_id IS NOT NULL AS other
FROM answers AS a
LEFT JOIN known AS k ON a.row_id = k.row_id AND a.split = k.split
LEFT JOIN known AS o ON a.row_id = o.row_id AND a.split <> o.split
LEFT JOIN rows AS u ON a.row_id = u.row_id
ORDER BY a.split, a.row_id, a.n, a.seq
