-- Every duplicate names a row, and that row went on: it was not dropped as a duplicate itself, nor before.
SELECT d.row_id, d.reason, d.kept_row_id, 'names no row' AS problem FROM dropped AS d WHERE d.stage = 'dedup' AND d.kept_row_id IS NULL
UNION ALL
SELECT d.row_id, d.reason, d.kept_row_id, 'the row that it names was dropped by ' || k.stage FROM dropped AS d
JOIN dropped AS k ON d.kept_row_id = k.row_id WHERE d.stage = 'dedup' AND k.stage IN ('filter', 'decontaminate', 'dedup')
