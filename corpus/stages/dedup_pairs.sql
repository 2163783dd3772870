-- What was compared, and rows that are equal.
SELECT row_id, other_id, jaccard, prompts, answers, accepted FROM (
    SELECT a.row_id, b.row_id AS other_id, p.jaccard, p.prompts, p.answers, p.accepted
    FROM pairs AS p JOIN alive AS a ON p.number = a.number JOIN alive AS b ON p.other = b.number
    UNION ALL
    SELECT a.row_id, b.row_id, 1.0, NULL, NULL, true
    FROM equal AS e JOIN alive AS a ON e.number = a.number JOIN alive AS b ON e.first = b.number
    WHERE e.again
)
ORDER BY row_id, other_id
