SELECT split, part, sum(copies)::BIGINT AS rows FROM assigned GROUP BY ALL ORDER BY split, part DESC
