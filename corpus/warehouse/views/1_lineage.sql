CREATE VIEW lineage AS
SELECT
    r.row_id, r.source, r.subset, r.license, r.file, r.record, r.kind, r.recovered, c.changed_by,
    CASE WHEN a.splits IS NULL THEN 'dropped' ELSE 'kept' END AS fate,
    d.stage, d.reason, d.kept_row_id, a.splits
FROM rows AS r
LEFT JOIN clean AS c ON r.row_id = c.row_id
LEFT JOIN dropped AS d ON r.row_id = d.row_id
LEFT JOIN (
    SELECT row_id, list(split || '/' || part ORDER BY split) AS splits FROM assigned GROUP BY row_id
) AS a ON r.row_id = a.row_id
