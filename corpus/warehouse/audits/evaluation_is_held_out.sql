-- No training row has the prompt of a row in the test split.
WITH held AS (
    SELECT DISTINCT c.prompt_key FROM assigned AS a JOIN clean AS c ON a.row_id = c.row_id WHERE a.split = 'test'
)
SELECT a.split, a.row_id FROM assigned AS a JOIN clean AS c ON a.row_id = c.row_id SEMI JOIN held ON c.prompt_key = held.prompt_key
WHERE a.split <> 'test'
