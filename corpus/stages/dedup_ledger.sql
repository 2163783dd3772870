-- The ledger: rows that are equal or near to a kept row.
SELECT
    f.row_id, f.source, 'dedup' AS stage,
    CASE WHEN f.is_near THEN 'near_duplicate' ELSE 'exact_duplicate' END AS reason,
    CASE WHEN f.by_another THEN 'equal to a row that is near the kept one' END AS detail,
    NULL::VARCHAR AS rule, NULL::DOUBLE AS value, NULL::DOUBLE AS bound,
    k.row_id AS kept_row_id, f.jaccard
FROM found AS f JOIN alive AS k ON f.keeper = k.number
ORDER BY f.row_id
