-- The two sides of a pair that is trained on are not equal, and not as similar as the recipe forbids.
WITH bounds AS (
    SELECT split_part(key, '.', 2) AS split, value::DOUBLE AS near FROM settings WHERE key LIKE 'splits.%.pairs.near'
)
SELECT a.split, p.row_id, p.similarity, b.near FROM preferences AS p
JOIN assigned AS a USING (row_id) JOIN bounds AS b USING (split)
WHERE a.split IN ('rm', 'dpo') AND (p.similarity >= b.near OR p.chosen_chars = 0 OR p.rejected_chars = 0)
