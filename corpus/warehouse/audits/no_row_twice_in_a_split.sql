-- No row is twice in one split.
SELECT split, row_id, count(*) AS times FROM splits GROUP BY split, row_id HAVING count(*) > 1
