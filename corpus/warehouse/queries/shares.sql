-- Who got how much in which split: asked, available, got, and why not more.
SELECT split, source, unit, asked, available, got, rows, eval, requests, reason, round(100.0 * rows / nullif(sum(rows) OVER (PARTITION BY split), 0), 1) AS percent
FROM allocation ORDER BY split, got DESC, source
