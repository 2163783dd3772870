-- No row that its publisher marks as validation or test, and none of a protected source, is in a training part.
SELECT a.split, a.part, a.row_id FROM assigned AS a
JOIN clean AS c ON a.row_id = c.row_id
JOIN source_list AS s ON a.source = s.source
WHERE a.part = 'train' AND (s.protect OR coalesce(c.upstream_split, 'train') <> 'train')
