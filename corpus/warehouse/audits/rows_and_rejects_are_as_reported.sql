-- The tables hold exactly as many rows and rejects of each file as the account of the file says.
WITH r AS (SELECT source, file, count(*) AS n FROM rows GROUP BY ALL),
x AS (SELECT source, file, count(*) AS n FROM rejects GROUP BY ALL)
SELECT f.source, f.file, f.rows, r.n AS found_rows, f.rejects, x.n AS found_rejects
FROM files AS f
LEFT JOIN r ON f.source = r.source AND f.file = r.file
LEFT JOIN x ON f.source = x.source AND f.file = x.file
WHERE f.rows <> coalesce(r.n, 0) OR f.rejects <> coalesce(x.n, 0)
