-- Sources of which not one record became a row.
SELECT source, sum(rejects)::BIGINT AS rejects FROM files GROUP BY source HAVING sum(rows) = 0 ORDER BY source
