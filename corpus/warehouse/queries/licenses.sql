-- Rows in each split by the terms that their publishers state.
SELECT split, license, count(*) AS rows, list(DISTINCT source ORDER BY source) AS sources FROM splits GROUP BY split, license ORDER BY split, rows DESC, license
