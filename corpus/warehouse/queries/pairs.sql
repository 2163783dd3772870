-- What the preference pairs of each split teach besides preference, by source: in how many percent of the pairs the longer side is the chosen one (marked above 70), the median of chosen to rejected length, how many are equal or nearly the same (similarity 0.95), how often either side declines, and how many go on for several turns.
WITH taken AS (
    SELECT a.split, p.* FROM assigned AS a JOIN preferences AS p ON a.row_id = p.row_id WHERE a.split IN ('rm', 'dpo')
)
SELECT split, source, count(*) AS pairs,
    round(100.0 * count(*) FILTER (WHERE chosen_chars > rejected_chars) / nullif(count(*) FILTER (WHERE chosen_chars <> rejected_chars), 0), 1)
        AS longer_chosen_percent,
    CASE WHEN longer_chosen_percent > 70 THEN 'long is good' END AS mark,
    round(median(chosen_chars / nullif(rejected_chars, 0)), 2) AS median_ratio,
    round(100.0 * count(*) FILTER (WHERE similarity = 1) / count(*), 1) AS equal_percent,
    round(100.0 * count(*) FILTER (WHERE similarity >= 0.95 AND similarity < 1) / count(*), 1) AS near_percent,
    round(100.0 * count(*) FILTER (WHERE chosen_refuses) / count(*), 1) AS chosen_refuses_percent,
    round(100.0 * count(*) FILTER (WHERE rejected_refuses) / count(*), 1) AS rejected_refuses_percent,
    round(100.0 * count(*) FILTER (WHERE turns > 1) / count(*), 1) AS several_turns_percent
FROM taken GROUP BY split, source ORDER BY split, pairs DESC, source
