-- Where every row of a split is, seen from the rule that splits exclude each other.
CREATE VIEW places AS
SELECT a.row_id, a.source, l.stage AS split, a.part, CASE WHEN l.shared AND a.part = 'train' THEN NULL ELSE l.stage || ', ' || a.part END AS place
FROM assigned AS a JOIN split_list AS l USING (split);
COMMENT ON VIEW places IS 'Where every row of a split is, seen from the rule that splits exclude each other: no row, prompt or cluster is in two places.';
COMMENT ON COLUMN places.split IS 'the split; requests are in that for which they are';
COMMENT ON COLUMN places.part IS 'train, eval or test';
COMMENT ON COLUMN places.place IS 'split and part; null in the training part of a shared split, which is no place of its own';
