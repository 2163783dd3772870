-- No two rows share a row_id.
SELECT row_id, count(*) AS rows FROM rows GROUP BY row_id HAVING count(*) > 1
