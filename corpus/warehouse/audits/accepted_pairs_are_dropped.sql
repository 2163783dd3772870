-- Of two rows that were compared and are near, one was dropped as a duplicate, unless it is of an evaluation set; and no pair below a bound of the recipe was accepted.
WITH gone AS (SELECT row_id FROM dropped WHERE stage = 'dedup'),
bounds AS (
    SELECT max(CASE key WHEN 'dedup.threshold' THEN value::DOUBLE END) AS threshold,
        max(CASE key WHEN 'dedup.prompts' THEN value::DOUBLE END) AS prompts,
        max(CASE key WHEN 'dedup.answers' THEN value::DOUBLE END) AS answers
    FROM settings
),
accepted AS (SELECT * FROM pairs WHERE accepted)
SELECT p.row_id, p.other_id, p.jaccard, 'both were kept' AS problem FROM accepted AS p
ANTI JOIN gone AS g ON p.row_id = g.row_id ANTI JOIN gone AS o ON p.other_id = o.row_id
JOIN rows AS r ON p.row_id = r.row_id JOIN source_list AS s ON r.source = s.source WHERE NOT s.protect
UNION ALL
SELECT p.row_id, p.other_id, p.jaccard, 'accepted below a bound' FROM accepted AS p, bounds AS b
WHERE p.jaccard < b.threshold OR p.prompts < b.prompts OR p.answers < b.answers
