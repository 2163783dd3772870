-- Training rows whose prompt is the prompt of an evaluation row. {clean}: clean partitions; {dropped}: the ledger of the stages before.
WITH alive AS (
    SELECT row_id, source, prompt_key, coalesce(upstream_split, 'train') IN ('validation', 'test') AS evaluation
    FROM {clean} ANTI JOIN (SELECT row_id FROM {dropped}) USING (row_id)
),
asked AS (
    SELECT prompt_key, min(row_id) AS row_id FROM alive WHERE evaluation GROUP BY prompt_key
)
SELECT
    a.row_id, a.source, 'decontaminate' AS stage, 'eval_leak' AS reason, 'same prompt' AS detail, NULL::VARCHAR AS rule, NULL::DOUBLE AS value, NULL::DOUBLE AS bound,
    asked.row_id AS kept_row_id, NULL::DOUBLE AS jaccard
FROM alive AS a JOIN asked USING (prompt_key)
WHERE NOT a.evaluation
ORDER BY a.row_id
