-- No row of a source that the recipe protects was dropped as a duplicate.
SELECT d.row_id, d.source, d.reason FROM dropped AS d JOIN source_list AS s ON d.source = s.source WHERE s.protect AND d.stage = 'dedup'
