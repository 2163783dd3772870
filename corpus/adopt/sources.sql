-- The sources of the requests that are answered; NULL when an answer is for none of them.
SELECT DISTINCT r.source FROM answers AS a LEFT JOIN requests AS r ON a.row_id = r.row_id
