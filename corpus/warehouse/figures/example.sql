-- A duplicate tells the most; any dropped row will do.
SELECT row_id FROM dropped ORDER BY reason <> 'exact_duplicate', row_id LIMIT 1
