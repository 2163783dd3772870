-- The largest groups of duplicates, with the row that was kept and the sources they come from.
SELECT cluster_id AS kept_row_id, any_value(size) AS size, list(DISTINCT source ORDER BY source) AS sources
FROM clusters GROUP BY cluster_id ORDER BY size DESC, kept_row_id LIMIT 50
