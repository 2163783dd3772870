-- Preference sets that teach length: at least twenty pairs of different length, in more than 70 % of which the longer side is the chosen one.
SELECT a.split, a.source, count(*) AS pairs, 100.0 * count(*) FILTER (WHERE p.chosen_chars > p.rejected_chars) / count(*) AS percent
FROM assigned AS a JOIN preferences AS p USING (row_id)
WHERE a.split IN ('rm', 'dpo') AND p.chosen_chars <> p.rejected_chars
GROUP BY a.split, a.source HAVING count(*) >= 20 AND percent > 70 ORDER BY a.split, percent DESC, a.source
