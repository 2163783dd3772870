-- No conversation in a split is longer than the recipe allows, where it counts characters and drops what does not fit.
WITH said AS (
    SELECT split_part(key, '.', 2) AS split,
        max(CASE WHEN key LIKE '%.chars' THEN value::BIGINT END) AS chars, max(CASE WHEN key LIKE '%.over' THEN value END) AS over
    FROM settings WHERE key LIKE 'splits.%.length.%' AND (SELECT bool_and(value IS NULL) FROM settings WHERE key = 'tokenizer') GROUP BY ALL
)
SELECT s.split, s.row_id, length(s.text) AS chars, b.chars AS most FROM splits AS s JOIN split_list AS l USING (split)
JOIN said AS b ON l.stage = b.split
WHERE b.over = 'drop' AND length(s.text) > b.chars
