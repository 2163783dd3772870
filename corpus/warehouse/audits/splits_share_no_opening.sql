-- No first question, and no title, (without width, case, blanks and punctuation) is in two of the splits that exclude each other.
-- What is held out is in no training part either, those of shared splits included.
SELECT md5(c.opening_key::VARCHAR) AS opening, min(p.row_id) AS row_id, list(DISTINCT coalesce(p.place, p.split) ORDER BY coalesce(p.place, p.split)) AS places
FROM places AS p JOIN clean AS c USING (row_id)
GROUP BY c.opening_key
HAVING count(DISTINCT p.place) > 1 OR (bool_or(p.place IS NULL) AND bool_or(p.part <> 'train'))
