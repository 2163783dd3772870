-- What each source may have of a split's total is in `quotas(split, source, most)`: the first copies that fit are taken.
CREATE TEMP TABLE assigned AS
SELECT any_value(partition) AS partition, row_id, any_value(source) AS source, split AS base,
    split || CASE WHEN any_value(request) THEN $requests ELSE '' END AS split, any_value(part) AS part, any_value(start) AS start,
    count(*)::INTEGER AS copies
FROM (
    SELECT c.*, sum(c.size) OVER (PARTITION BY c.split, c.source ORDER BY c.copy, c.ticket, c.row_id) AS sum, q.most
    FROM capped AS c JOIN quotas AS q USING (split, source) WHERE c.size <= q.most
)
WHERE sum <= most
GROUP BY row_id, split;
