-- No row and no prompt (folded) is in two of the splits that exclude each other.
SELECT md5(c.prompt_key::VARCHAR) AS prompt, list(DISTINCT a.split ORDER BY a.split) AS splits
FROM assigned AS a
JOIN split_list AS s ON a.split = s.split
JOIN clean AS c ON a.row_id = c.row_id
WHERE NOT s.shared
GROUP BY 1
HAVING count(DISTINCT a.split) > 1
