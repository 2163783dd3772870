-- Every ledger entry names a row that exists, once; a row that was kept instead exists and was kept by the stage that says so.
SELECT d.row_id, d.stage, d.reason, 'no such row' AS problem FROM dropped AS d ANTI JOIN rows AS r ON d.row_id = r.row_id
UNION ALL
SELECT row_id, min(stage), min(reason), 'dropped more than once' FROM dropped GROUP BY row_id HAVING count(*) > 1
UNION ALL
SELECT d.row_id, d.stage, d.reason, 'the row kept instead does not exist' FROM dropped AS d
ANTI JOIN rows AS r ON d.kept_row_id = r.row_id WHERE d.kept_row_id IS NOT NULL
UNION ALL
SELECT d.row_id, d.stage, d.reason, 'the row kept instead was dropped before' FROM dropped AS d
JOIN dropped AS k ON d.kept_row_id = k.row_id WHERE k.stage IN ('filter', d.stage)
