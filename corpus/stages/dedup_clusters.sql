-- Components of two rows and more, called by their best row.
SELECT
    first_value(f.row_id) OVER w AS cluster_id, f.row_id, f.source, f.keeper IS NULL AS kept,
    (count(*) OVER (PARTITION BY f.component))::INTEGER AS size
FROM found AS f
WINDOW w AS (PARTITION BY f.component ORDER BY f.place)
QUALIFY count(*) OVER (PARTITION BY f.component) > 1
ORDER BY cluster_id, f.place
