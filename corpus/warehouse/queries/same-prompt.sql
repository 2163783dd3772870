-- Prompts with several different answers that were all kept, most answers first: what preference pairs can be made from.
WITH kept AS (
    SELECT row_id, source, prompt_key, row_key, messages FROM clean
    SEMI JOIN assigned USING (row_id) WHERE kind = 'dialogue' AND asks AND messages[-1].role = 'assistant'
),
asked AS (
    SELECT prompt_key, count(DISTINCT row_key) AS answers, list(DISTINCT source ORDER BY source) AS sources, min(row_id) AS first
    FROM kept GROUP BY prompt_key HAVING count(DISTINCT row_key) > 1 ORDER BY answers DESC, first LIMIT 1000
),
ids AS (
    SELECT prompt_key, list(row_id ORDER BY row_id) AS row_ids FROM kept SEMI JOIN asked USING (prompt_key) GROUP BY prompt_key
)
SELECT a.answers, a.sources,
    replace(left(array_to_string(list_transform(k.messages[:-2], lambda m: m.content), ' ⏎ '), 120), chr(10), ' ') AS prompt, i.row_ids[:8] AS row_ids
FROM asked AS a JOIN kept AS k ON a.first = k.row_id JOIN ids AS i ON a.prompt_key = i.prompt_key
ORDER BY a.answers DESC, a.first
