-- Distribution of characters per row, by split and source.
SELECT s.split, s.source, count(*) AS rows, min(length(s.text)) AS least,
    quantile_disc(length(s.text), 0.5) AS median, quantile_disc(length(s.text), 0.95) AS p95, max(length(s.text)) AS most
FROM splits AS s GROUP BY ALL ORDER BY s.split, rows DESC, s.source
