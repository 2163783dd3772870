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
;
COMMENT ON VIEW lineage IS 'The life of every row in one line: where it comes from and what became of it.';
COMMENT ON COLUMN lineage.changed_by IS 'cleaning rules that changed it';
COMMENT ON COLUMN lineage.fate IS 'kept or dropped';
COMMENT ON COLUMN lineage.stage IS 'the stage that dropped it';
COMMENT ON COLUMN lineage.reason IS 'why it was dropped';
COMMENT ON COLUMN lineage.splits IS 'the splits that hold it, each with the part';
