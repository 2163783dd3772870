-- Pairs that were compared and are no duplicates, nearest first, and what told them apart: the whole, what is asked, or what is answered.
-- Optional: source.
WITH wanted AS (
    SELECT CASE
        WHEN $source::VARCHAR IS NULL OR $source IN (SELECT source FROM source_list) THEN $source::VARCHAR
        ELSE error('there is no source ' || $source || ' in this build; `corpus sql overview` lists them')
    END AS source
),
bounds AS (
    SELECT max(CASE key WHEN 'dedup.threshold' THEN value::DOUBLE END) AS threshold,
        max(CASE key WHEN 'dedup.prompts' THEN value::DOUBLE END) AS prompts,
        max(CASE key WHEN 'dedup.answers' THEN value::DOUBLE END) AS answers
    FROM settings
),
rejected AS (
    SELECT p.*, CASE
        WHEN p.jaccard < b.threshold THEN 'whole below ' || b.threshold
        WHEN p.prompts < b.prompts AND p.answers < b.answers THEN 'prompts below ' || b.prompts || ', answers below ' || b.answers
        WHEN p.prompts < b.prompts THEN 'prompts below ' || b.prompts
        ELSE 'answers below ' || b.answers
    END AS because
    FROM pairs AS p, bounds AS b, wanted AS w
    WHERE NOT p.accepted
        AND (w.source IS NULL OR p.row_id IN (SELECT row_id FROM clean WHERE source = w.source))
    ORDER BY p.jaccard DESC, p.row_id, p.other_id LIMIT 1000
),
spoken AS (
    SELECT row_id, source, coalesce(text, array_to_string(list_transform(list_concat(messages, chosen), lambda m: m.content), ' ⏎ ')) AS said
    FROM clean SEMI JOIN (SELECT row_id FROM rejected UNION SELECT other_id FROM rejected) USING (row_id)
)
SELECT p.row_id, r.source, p.other_id, o.source AS other_source, round(p.jaccard, 4) AS jaccard, round(p.prompts, 4) AS prompts,
    round(p.answers, 4) AS answers, p.because, replace(left(r.said, 120), chr(10), ' ') AS text, replace(left(o.said, 120), chr(10), ' ') AS other_text
FROM rejected AS p JOIN spoken AS r ON p.row_id = r.row_id JOIN spoken AS o ON p.other_id = o.row_id
ORDER BY p.jaccard DESC, p.row_id, p.other_id
