-- No row and no prompt (folded) is in two of the splits that exclude each other.
WITH used AS (
    SELECT DISTINCT c.prompt_key, a.split
    FROM assigned AS a
    JOIN split_list AS s ON a.split = s.split
    JOIN clean AS c ON a.row_id = c.row_id
    WHERE NOT s.shared
),
shared AS (
    SELECT prompt_key FROM used GROUP BY prompt_key HAVING count(*) > 1
)
SELECT md5(prompt_key::VARCHAR) AS prompt, list(split ORDER BY split) AS splits
FROM used SEMI JOIN shared USING (prompt_key)
GROUP BY prompt_key
