SELECT split, part, count(*) AS rows FROM assigned GROUP BY ALL ORDER BY split, part DESC
