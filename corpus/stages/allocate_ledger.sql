-- Rows that no split holds: over a cap, kept out because their prompt went to another split, or of no use to any split.
SELECT
    a.row_id, a.source, 'allocate' AS stage,
    CASE
        WHEN o.exclusive THEN 'over_cap'
        WHEN c.row_id IS NOT NULL THEN 'other_split'
        WHEN o.row_id IS NOT NULL THEN 'over_cap'
        ELSE 'not_asked'
    END AS reason,
    coalesce(CASE WHEN o.exclusive OR c.row_id IS NULL THEN o.splits END, c.splits, a.kind || CASE WHEN a.upstream = 'train' THEN '' ELSE ', marked ' || a.upstream END) AS detail,
    NULL::VARCHAR AS rule,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS bound,
    NULL::VARCHAR AS kept_row_id,
    NULL::DOUBLE AS jaccard
FROM alive AS a
LEFT JOIN (
    SELECT row_id, string_agg(split, ', ' ORDER BY split) AS splits, bool_or(NOT shared) AS exclusive
    FROM offered JOIN splits USING (split) GROUP BY row_id
) AS o ON a.row_id = o.row_id
LEFT JOIN (
    SELECT c.row_id, 'its prompt went to ' || min(x.split) AS splits FROM could AS c JOIN chosen AS x USING (prompt) GROUP BY c.row_id
) AS c ON a.row_id = c.row_id
WHERE a.row_id NOT IN (SELECT row_id FROM assigned)
ORDER BY a.row_id
