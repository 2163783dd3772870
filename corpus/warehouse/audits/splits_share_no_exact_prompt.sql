-- No prompt, as it stands in the clean rows, is in two of the splits that exclude each other: a look at the texts themselves, by no key.
-- What is held out is in no training part either, those of shared splits included.
WITH asked AS (
    SELECT p.row_id, p.split, p.part, p.place, CASE WHEN c.messages[-1].role = 'assistant' THEN c.messages[:-2] ELSE c.messages END AS prompt
    FROM places AS p JOIN clean AS c USING (row_id)
    WHERE c.kind <> 'document'
)
SELECT min(row_id) AS row_id, list(DISTINCT coalesce(place, split) ORDER BY coalesce(place, split)) AS places
FROM (SELECT row_id, split, part, place, md5(to_json(prompt)::VARCHAR) AS prompt FROM asked WHERE len(prompt) > 0)
GROUP BY prompt
HAVING count(DISTINCT place) > 1 OR (bool_or(place IS NULL) AND bool_or(part <> 'train'))
