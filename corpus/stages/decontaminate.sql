-- The ledger of leaks: training rows whose prompt is the prompt of an evaluation row, and those that the search found. A row has one
-- entry: an equal prompt comes first, then a near one, then what the row holds.
-- {clean}: clean partitions; {dropped}: the ledger of the stages before; {leaks}: what was found; `protected(source)`; $nothing: the key of a prompt without text.
WITH alive AS (
    SELECT
        row_id, source, prompt_key,
        coalesce(upstream_split, 'train') IN ('validation', 'test') OR source IN (SELECT source FROM protected) AS evaluation
    FROM {clean} ANTI JOIN (SELECT row_id FROM {dropped}) USING (row_id)
),
asked AS (
    SELECT prompt_key, min(row_id) AS row_id FROM alive WHERE evaluation AND prompt_key <> $nothing GROUP BY prompt_key
)
SELECT
    a.row_id, a.source, 'decontaminate' AS stage, 'eval_leak' AS reason,
    CASE WHEN asked.row_id IS NOT NULL THEN 'same prompt' ELSE f.detail END AS detail,
    CASE WHEN asked.row_id IS NOT NULL THEN 'same_prompt' ELSE f.rule END AS rule,
    CASE WHEN asked.row_id IS NULL THEN f.value END AS value,
    CASE WHEN asked.row_id IS NULL AND f.rule = 'containment' THEN $containment END AS bound,
    coalesce(asked.row_id, f.evaluation_id) AS kept_row_id,
    CASE WHEN asked.row_id IS NULL THEN f.jaccard END AS jaccard
FROM alive AS a
LEFT JOIN asked USING (prompt_key)
LEFT JOIN {leaks} AS f ON a.row_id = f.row_id
WHERE NOT a.evaluation AND (asked.row_id IS NOT NULL OR f.row_id IS NOT NULL)
ORDER BY a.row_id
