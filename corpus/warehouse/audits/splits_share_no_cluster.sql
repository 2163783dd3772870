-- No cluster of duplicates is in two of the splits that exclude each other.
-- What is held out is in no training part either, those of shared splits included.
SELECT k.cluster_id, min(p.row_id) AS row_id, list(DISTINCT coalesce(p.place, p.split) ORDER BY coalesce(p.place, p.split)) AS places
FROM places AS p JOIN clusters AS k USING (row_id)
GROUP BY k.cluster_id
HAVING count(DISTINCT p.place) > 1 OR (bool_or(p.place IS NULL) AND bool_or(p.part <> 'train'))
