-- No row is in two of the splits that exclude each other, nor in a training and a held-out part.
-- What is held out is in no training part either, those of shared splits included.
SELECT p.row_id, list(DISTINCT coalesce(p.place, p.split) ORDER BY coalesce(p.place, p.split)) AS places
FROM places AS p
GROUP BY p.row_id
HAVING count(DISTINCT p.place) > 1 OR (bool_or(p.place IS NULL) AND bool_or(p.part <> 'train'))
